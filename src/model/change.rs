//! Changes: what a thing was and what it becomes, and what happens to its secrets.

use jiff::Timestamp;

use crate::model::{AuditAction, Digest, FieldChange, Label, Noun, Resource};

/// A noun whose changes are recorded.
pub trait Audited {
    /// Which noun.
    fn noun(&self) -> Noun;

    /// Its id, as records name it.
    fn audit_id(&self) -> String;

    /// What it is called.
    fn audit_summary(&self) -> String;

    /// Its fields in a fixed order, the same names for every value of the type; never a secret or a digest.
    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)>;

    /// What else the trail says of it, though no record has it as a field: by whom and when it was made, since the
    /// record of that says who acted and when.
    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }

    /// How records name it.
    fn resource(&self) -> Resource {
        Resource {
            id: self.audit_id(),
            kind: self.noun().resource_type().to_owned(),
            summary: self.audit_summary(),
        }
    }
}

/// One change to one thing, with what it was before.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// It is new.
    Create(T),
    /// It is another.
    Update {
        /// What it was.
        before: T,
        /// What it is now.
        after: T,
    },
    /// It is gone.
    Delete {
        /// What it was.
        before: T,
        /// Why, if it was said.
        reason: Option<Label>,
    },
}

impl<T: Audited> Change<T> {
    /// What the change does.
    #[must_use]
    pub const fn action(&self) -> AuditAction {
        match self {
            Self::Create(_) => AuditAction::Create,
            Self::Update { .. } => AuditAction::Update,
            Self::Delete { .. } => AuditAction::Delete,
        }
    }

    /// What is changed: as it is afterwards, or was before it went.
    #[must_use]
    pub const fn subject(&self) -> &T {
        match self {
            Self::Create(after) | Self::Update { after, .. } => after,
            Self::Delete { before, .. } => before,
        }
    }

    /// The fields that differ between before and after.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldChange> {
        let field =
            |name: &str, before_value, value| FieldChange { name: name.to_owned(), before_value, value };
        let mut fields: Vec<_> = match self {
            Self::Create(after) => {
                after.audit_fields().into_iter().map(|(name, value)| field(name, None, value)).collect()
            }
            Self::Update { before, after } => before
                .audit_fields()
                .into_iter()
                .zip(after.audit_fields())
                .map(|((name, before), (_, after))| field(name, before, after))
                .collect(),
            Self::Delete { before, .. } => {
                before.audit_fields().into_iter().map(|(name, value)| field(name, value, None)).collect()
            }
        };
        if let Self::Delete { reason: Some(reason), .. } = self {
            fields.push(field("reason", None, Some(reason.as_str().to_owned())));
        }
        fields.retain(|field| field.before_value != field.value);
        fields
    }
}

/// What a change does to the secrets of a credential. Removing the credential kills them all, whatever is said here.
#[derive(Clone, Copy, Debug)]
pub enum SecretChange {
    /// They stay as they are.
    Keep,
    /// It gets its first.
    Issue(Digest),
    /// It gets another. The one before goes on until a moment, or is dead at once; one before that is dead.
    Rotate {
        /// The new secret's digest.
        new: Digest,
        /// Until when the present one goes on.
        old_ends_at: Option<Timestamp>,
    },
    /// The one before the present is dead.
    EndOverlap,
}
