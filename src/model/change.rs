//! Changes to resources and to their secrets, as the store applies and records them.

use jiff::Timestamp;

use crate::model::{AuditAction, Digest, FieldChange, Label, Noun, Resource};

/// A resource whose changes are recorded in the audit trail.
pub trait Audited {
    /// Returns the noun.
    fn noun(&self) -> Noun;

    /// Returns the id that audit records use.
    fn audit_id(&self) -> String;

    /// Returns the name or description that audit records show.
    fn audit_summary(&self) -> String;

    /// Returns the fields in a fixed order, with the same names for every value of the type. Secrets and digests are
    /// never among them.
    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)>;

    /// Returns the values that the audit trail implies without recording them as fields, such as who created the
    /// resource and when: the actor and the time of its first record.
    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        Vec::new()
    }

    /// Returns the resource as audit records name it.
    fn resource(&self) -> Resource {
        Resource {
            id: self.audit_id(),
            kind: self.noun().resource_type().to_owned(),
            summary: self.audit_summary(),
        }
    }
}

/// A change to one resource.
#[derive(Clone, Debug)]
pub enum Change<T> {
    /// The resource is created.
    Create(T),
    /// The resource is changed.
    Update {
        /// The resource before the change.
        before: T,
        /// The resource after the change.
        after: T,
    },
    /// The resource is removed.
    Delete {
        /// The resource before its removal.
        before: T,
        /// The reason, if one was given.
        reason: Option<Label>,
    },
}

impl<T: Audited> Change<T> {
    /// Returns the kind of change.
    #[must_use]
    pub const fn action(&self) -> AuditAction {
        match self {
            Self::Create(_) => AuditAction::Create,
            Self::Update { .. } => AuditAction::Update,
            Self::Delete { .. } => AuditAction::Delete,
        }
    }

    /// Returns the resource as it is after the change, or as it was before its removal.
    #[must_use]
    pub const fn subject(&self) -> &T {
        match self {
            Self::Create(after) | Self::Update { after, .. } => after,
            Self::Delete { before, .. } => before,
        }
    }

    /// Returns the fields that differ before and after the change, and the reason of a removal.
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

/// The effect of a change on the secrets of a resource. Removing the resource ends all of them in any case.
#[derive(Clone, Copy, Debug)]
pub enum SecretChange {
    /// Leaves the secrets unchanged.
    Keep,
    /// Adds the first secret.
    Issue(Digest),
    /// Adds a secret, and ends the present one, now or after an overlap. An earlier one still in its overlap ends now.
    Rotate {
        /// The digest of the new secret.
        new: Digest,
        /// The end of the overlap; `None` to end the present secret now.
        old_ends_at: Option<Timestamp>,
    },
    /// Ends the overlap of the secret before the present one.
    EndOverlap,
}
