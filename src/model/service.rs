//! The destinations of events, which are services and orchestrations, and the integrations that lead into them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::model::{Audited, Error, Hint, Id, Label, Name, Noun, RateLimit, Result, Sealed, UserRef};

/// A destination of events: a service or an orchestration, depending on the noun of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The id, of a service or an orchestration.
    pub id: Id,
    /// The name, unique among services or among orchestrations.
    pub name: Name,
    /// The purpose of the destination.
    pub description: Option<Label>,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The user who created it.
    pub created_by: UserRef,
}

impl Audited for Destination {
    fn noun(&self) -> Noun {
        self.id.noun()
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("name", Some(self.name.as_str().to_owned())),
            ("description", self.description.as_ref().map(|text| text.as_str().to_owned())),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("created_at", Some(format!("{:.3}", self.created_at))),
            ("created_by", Some(self.created_by.id.to_string())),
        ]
    }
}

/// Changes to a service or an orchestration. `None` leaves a value unchanged; `Some(None)` clears it.
#[derive(Clone, Debug, Default)]
pub struct DestinationEdit {
    /// The new name.
    pub name: Option<Name>,
    /// The new description.
    pub description: Option<Option<Label>>,
}

/// The kind of source that sends events to an integration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrationType {
    /// The Events API, version 2.
    EventsApiV2,
    /// The Events API, version 1.
    EventsApiV1,
    /// E-mail.
    Email,
    /// A custom event transformer.
    EventTransformer,
    /// Amazon `CloudWatch`.
    AwsCloudwatch,
    /// Cloudkick.
    Cloudkick,
    /// Keynote.
    Keynote,
    /// Nagios.
    Nagios,
    /// Pingdom.
    Pingdom,
    /// SQL Monitor.
    SqlMonitor,
}

impl IntegrationType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::EventsApiV2,
        Self::EventsApiV1,
        Self::Email,
        Self::EventTransformer,
        Self::AwsCloudwatch,
        Self::Cloudkick,
        Self::Keynote,
        Self::Nagios,
        Self::Pingdom,
        Self::SqlMonitor,
    ];

    /// Returns the name that the command line uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EventsApiV2 => "events-api-v2",
            Self::EventsApiV1 => "events-api-v1",
            Self::Email => "email",
            Self::EventTransformer => "event-transformer",
            Self::AwsCloudwatch => "aws-cloudwatch",
            Self::Cloudkick => "cloudkick",
            Self::Keynote => "keynote",
            Self::Nagios => "nagios",
            Self::Pingdom => "pingdom",
            Self::SqlMonitor => "sql-monitor",
        }
    }

    /// Returns the value of `type` in the API.
    #[must_use]
    pub const fn api_value(self) -> &'static str {
        match self {
            Self::EventsApiV2 => "events_api_v2_inbound_integration",
            Self::EventsApiV1 => "generic_events_api_inbound_integration",
            Self::Email => "generic_email_inbound_integration",
            Self::EventTransformer => "event_transformer_api_inbound_integration",
            Self::AwsCloudwatch => "aws_cloudwatch_inbound_integration",
            Self::Cloudkick => "cloudkick_inbound_integration",
            Self::Keynote => "keynote_inbound_integration",
            Self::Nagios => "nagios_inbound_integration",
            Self::Pingdom => "pingdom_inbound_integration",
            Self::SqlMonitor => "sql_monitor_inbound_integration",
        }
    }
}

impl fmt::Display for IntegrationType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for IntegrationType {
    type Err = Error;

    /// Parses the name or the value of `type` in the API.
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| [kind.as_str(), kind.api_value()].contains(&text)).ok_or_else(
            || {
                let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
                Error::invalid("integration type", format!("must be one of {}", known.join(", ")))
            },
        )
    }
}

impl Serialize for IntegrationType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.api_value())
    }
}

/// A way into a service or an orchestration, identified by its integration key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// The integration's id.
    pub id: Id,
    /// The name of the integration.
    pub name: Name,
    /// The kind of source that sends the events.
    pub kind: IntegrationType,
    /// The service or orchestration that the events go to.
    pub destination: DestinationRef,
    /// The last four characters of the integration key.
    pub hint: Hint,
    /// The integration key, encrypted.
    pub sealed_key: Sealed,
    /// The time of creation.
    pub created_at: Timestamp,
    /// The user who created it.
    pub created_by: UserRef,
    /// The rate limit; `None` for the documented one.
    pub rate_limit: Option<RateLimit>,
    /// The last time that the integration key was checked and found active.
    pub last_used_at: Option<Timestamp>,
}

/// A reference to a service or an orchestration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DestinationRef {
    /// The id, of a service or an orchestration.
    pub id: Id,
    /// The name.
    pub name: Name,
}

impl From<&Destination> for DestinationRef {
    fn from(destination: &Destination) -> Self {
        Self { id: destination.id, name: destination.name.clone() }
    }
}

impl Audited for Integration {
    fn noun(&self) -> Noun {
        Noun::Integration
    }

    fn audit_id(&self) -> String {
        self.id.to_string()
    }

    fn audit_summary(&self) -> String {
        self.name.as_str().to_owned()
    }

    fn audit_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("name", Some(self.name.as_str().to_owned())),
            ("type", Some(self.kind.api_value().to_owned())),
            (self.destination.id.noun().resource_type(), Some(self.destination.id.to_string())),
            ("hint", Some(self.hint.as_str().to_owned())),
            ("rate_limit", self.rate_limit.map(|limit| limit.to_string())),
        ]
    }

    fn implied_fields(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("created_at", Some(format!("{:.3}", self.created_at))),
            ("created_by", Some(self.created_by.id.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integration_type_parses_from_its_name_and_from_the_value_in_the_api() {
        for kind in IntegrationType::ALL {
            assert_eq!(kind.as_str().parse::<IntegrationType>().unwrap(), kind);
            assert_eq!(kind.api_value().parse::<IntegrationType>().unwrap(), kind);
        }
        assert!("events".parse::<IntegrationType>().is_err());
    }
}
