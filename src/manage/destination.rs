//! The destinations of integrations: services and orchestrations.

use crate::authz::Action;
use crate::model::Noun;

/// A service or an orchestration: the rules are the same, and each has permissions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DestinationKind {
    /// A service.
    Service,
    /// An orchestration.
    Orchestration,
}

impl DestinationKind {
    /// The noun.
    #[must_use]
    pub const fn noun(self) -> Noun {
        match self {
            Self::Service => Noun::Service,
            Self::Orchestration => Noun::Orchestration,
        }
    }

    const fn either(self, service: Action, orchestration: Action) -> Action {
        match self {
            Self::Service => service,
            Self::Orchestration => orchestration,
        }
    }

    pub(super) const fn create(self) -> Action {
        self.either(Action::CreateService, Action::CreateOrchestration)
    }

    pub(super) const fn list(self) -> Action {
        self.either(Action::ListServices, Action::ListOrchestrations)
    }

    pub(super) const fn show(self) -> Action {
        self.either(Action::ShowService, Action::ShowOrchestration)
    }

    pub(super) const fn edit(self) -> Action {
        self.either(Action::EditService, Action::EditOrchestration)
    }

    pub(super) const fn remove(self) -> Action {
        self.either(Action::RemoveService, Action::RemoveOrchestration)
    }
}

/// Selects a service or an orchestration by name or id.
#[derive(Clone, Debug)]
pub struct DestinationSelector {
    /// Which of the two it is.
    pub kind: DestinationKind,
    /// Its name or id.
    pub reference: String,
}
