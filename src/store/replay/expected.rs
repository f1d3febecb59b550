//! Folds the audit records of one resource into the state that they lead to.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Difference;
use crate::error::Result;
use crate::model::{AppToken, AuditAction, AuditRecord, FieldChange, LiveMark, Noun, Role, SecretMark};
use crate::store::{Death, ImportEntry};

/// The state of one resource according to its records.
pub(super) struct Expected {
    pub(super) noun: Noun,
    pub(super) id: String,
    /// Whether the creation is recorded, so that a field without a record must be empty.
    pub(super) complete: bool,
    /// The number of the record of its creation or import.
    pub(super) made: Option<u64>,
    /// Whether every secret that it ever had is recorded.
    pub(super) all_marked: bool,
    /// Whether it exists.
    pub(super) there: bool,
    /// Its fields, each with the number of the record that set it.
    pub(super) fields: HashMap<String, (Option<String>, u64)>,
    /// Its live secrets, with the number of the record that set them, or `None` if they are not recorded.
    pub(super) live: Option<(Vec<LiveMark>, u64)>,
    /// Its dead secrets, each with the number of the record, and why and when it died.
    pub(super) dead: HashMap<SecretMark, (u64, (Death, Timestamp))>,
    /// Its tokens, if it is an app.
    pub(super) tokens: Vec<ExpectedToken>,
    /// The roles given to a user by transfers of the account that are not applied yet, by record number.
    pub(super) roles: Vec<(u64, Role)>,
    /// The number of its last record.
    pub(super) last: u64,
}

/// A recorded token of an app.
pub(super) struct ExpectedToken {
    pub(super) record: u64,
    /// The mark of its secret, or `None` if version 0.1 issued it.
    pub(super) mark: Option<SecretMark>,
    pub(super) fields: TokenFields,
    pub(super) expires_at: Option<Timestamp>,
}

/// The fields of an app token as audit records hold them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct TokenFields {
    pub(super) scopes: String,
    pub(super) hint: String,
    pub(super) expires_at: String,
    pub(super) issued_at: String,
}

impl TokenFields {
    pub(super) fn of(token: &AppToken) -> Self {
        Self {
            scopes: token.scopes.to_string(),
            hint: token.hint.as_str().to_owned(),
            expires_at: format!("{:.3}", token.expires_at),
            issued_at: format!("{:.3}", token.issued_at),
        }
    }

    pub(super) fn recorded(fields: &[FieldChange], issued_at: String) -> Self {
        let said = |name| {
            let field = fields.iter().find(|field| field.name == name);
            let value = field.and_then(|field| field.value.as_ref().or(field.before_value.as_ref()));
            value.cloned().unwrap_or_default()
        };
        Self {
            scopes: said("token_scopes"),
            hint: said("token_hint"),
            expires_at: said("token_expires_at"),
            issued_at,
        }
    }

    /// Returns true if a revocation has the same fields, apart from the time of issue, which it does not record.
    pub(super) fn is_revoked_by(&self, revocation: &Self) -> bool {
        Self { issued_at: String::new(), ..self.clone() }
            == Self { issued_at: String::new(), ..revocation.clone() }
    }

    pub(super) fn differing(&self, held: &Self) -> Vec<(&'static str, String, String)> {
        let pairs = [
            ("token_scopes", &self.scopes, &held.scopes),
            ("token_hint", &self.hint, &held.hint),
            ("token_expires_at", &self.expires_at, &held.expires_at),
            ("token_issued_at", &self.issued_at, &held.issued_at),
        ];
        pairs
            .into_iter()
            .filter(|(_, said, held)| said != held)
            .map(|(name, said, held)| (name, said.clone(), held.clone()))
            .collect()
    }
}

impl Expected {
    /// Returns the state of a resource before any record.
    pub(super) fn unknown(noun: Noun, id: String) -> Self {
        Self {
            noun,
            id,
            complete: false,
            made: None,
            all_marked: false,
            there: true,
            fields: HashMap::new(),
            live: None,
            dead: HashMap::new(),
            tokens: Vec::new(),
            roles: Vec::new(),
            last: 0,
        }
    }

    pub(super) fn has_secrets(&self) -> bool {
        matches!(self.noun, Noun::GeneralKey | Noun::UserToken | Noun::App | Noun::Integration)
    }

    /// Applies an import entry.
    pub(super) fn came_in(&mut self, entry: &ImportEntry) -> Result<()> {
        let thing = entry.thing()?;
        for (name, value) in thing.fields {
            let value = value.as_str().map(str::to_owned);
            self.fields.insert(name, (value, entry.record));
        }
        let secret = thing.secret.into_iter().map(|mark| LiveMark { mark, ends_at: None });
        self.live = Some((secret.collect(), entry.record));
        self.is_made_by(entry.record, true);
        Ok(())
    }

    pub(super) fn is_made_by(&mut self, record: u64, all_marked: bool) {
        self.complete = true;
        self.made = Some(record);
        self.all_marked = all_marked;
        self.last = record;
    }

    /// Applies the next record.
    pub(super) fn fold(&mut self, record: AuditRecord) {
        let number = record.id;
        self.take_roles(number);
        if record.root_resource.kind == Noun::AppToken.resource_type() {
            self.fold_token(record);
            return;
        }
        self.last = number;
        let at = format!("{:.3}", record.execution_time);
        let actor = record.actors.into_iter().next().map(|actor| actor.id);
        let evidence = record.details.evidence;
        let changed = |name| record.details.fields.iter().find(|field| field.name == name);
        let mut death = Death::Rotated;
        match record.action {
            AuditAction::Create => {
                self.is_made_by(number, evidence.is_some() || !self.has_secrets());
                for name in ["created_by", "user_id"] {
                    self.fields.insert(name.to_owned(), (actor.clone(), number));
                }
                self.fields.insert("created_at".to_owned(), (Some(at.clone()), number));
            }
            AuditAction::Update => {
                if let Some(disabled) = changed("disabled") {
                    let disabled = disabled.value.as_deref() == Some("true");
                    // The holder of a secret who disables the key is not a user.
                    let by = actor.filter(|_| disabled && record.method.kind != "holder");
                    self.fields.insert("disabled_at".to_owned(), (disabled.then_some(at), number));
                    self.fields.insert("disabled_by".to_owned(), (by, number));
                }
                if changed("tokens_revoked_at").is_some() {
                    self.tokens.clear();
                    death = Death::Removed;
                }
            }
            AuditAction::Delete => {
                self.there = false;
                self.tokens.clear();
                death = Death::Removed;
            }
        }
        if let Some(evidence) = evidence {
            self.bury(number, evidence.dead, (death, record.execution_time));
            self.live = evidence.live.map(|live| (live, number)).or(self.live.take());
        }
        for field in record.details.fields {
            self.fields.insert(field.name, (field.value, number));
        }
    }

    /// Applies the next record of a token of this app.
    pub(super) fn fold_token(&mut self, record: AuditRecord) {
        self.last = record.id;
        let evidence = record.details.evidence.unwrap_or_default();
        let fields = TokenFields::recorded(&record.details.fields, format!("{:.3}", record.execution_time));
        if record.action == AuditAction::Delete {
            let by_mark =
                |said: &ExpectedToken| said.mark.as_ref().is_some_and(|mark| evidence.dead.contains(mark));
            let by_fields = |said: &ExpectedToken| said.mark.is_none() && said.fields.is_revoked_by(&fields);
            let found =
                self.tokens.iter().position(by_mark).or_else(|| self.tokens.iter().position(by_fields));
            if let Some(found) = found {
                self.tokens.remove(found);
            }
            self.bury(record.id, evidence.dead, (Death::Removed, record.execution_time));
            return;
        }
        // Issuing a token sweeps the expired ones.
        let now = record.execution_time;
        self.tokens.retain(|token| token.expires_at.is_none_or(|end| end > now));
        let mark = evidence.live.into_iter().flatten().next().map(|live| live.mark);
        let expires_at = fields.expires_at.parse().ok();
        self.tokens.push(ExpectedToken { record: record.id, mark, fields, expires_at });
    }

    pub(super) fn bury(&mut self, record: u64, dead: Vec<SecretMark>, death: (Death, Timestamp)) {
        for mark in dead {
            // The first death counts.
            self.dead.entry(mark).or_insert((record, death));
        }
    }

    /// Applies the roles given by transfers of the account before a record.
    pub(super) fn take_roles(&mut self, before: u64) {
        let later = self.roles.iter().position(|(number, _)| *number >= before).unwrap_or(self.roles.len());
        for (number, role) in self.roles.drain(..later) {
            self.fields.insert("role".to_owned(), (Some(role.to_string()), number));
        }
    }

    pub(super) fn differs(
        &self,
        field: Option<&str>,
        record: Option<u64>,
        trail: Option<String>,
        state: Option<String>,
    ) -> Difference {
        let field = field.map(str::to_owned);
        Difference { noun: self.noun, id: self.id.clone(), field, record, trail, state }
    }
}

pub(super) fn moment(moment: Option<Timestamp>) -> Option<String> {
    moment.map(|moment| format!("{moment:.3}"))
}
