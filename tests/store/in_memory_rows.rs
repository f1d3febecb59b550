//! The rows, the secrets and the counts of the in-memory engine.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use pdkeys::model::{
    Account, App, AppToken, Destination, Digest, GeneralKey, Id, Integration, LiveSecret, Role, User,
    UserToken,
};
use pdkeys::store::{Death, ImportEntry, Row, Tombstone, UsageCount, Window};

pub(crate) const HOUR: i64 = 3_600_000;

macro_rules! items {
    ($($noun:ident)*) => {
        /// A row of any noun but the account.
        #[derive(Clone)]
        pub(crate) enum Item {
            $($noun($noun),)*
        }

        impl Item {
            pub(crate) fn of(row: Row<'_>) -> Option<Self> {
                match row {
                    Row::Account(_) => None,
                    $(Row::$noun(row) => Some(Self::$noun(row.clone())),)*
                }
            }

            pub(crate) fn id(&self) -> Id {
                match self {
                    $(Self::$noun(row) => row.id,)*
                }
            }
        }

        $(impl Stored for $noun {
            fn of(item: &Item) -> Option<&Self> {
                if let Item::$noun(row) = item { Some(row) } else { None }
            }
        })*
    };
}

items! { User Destination GeneralKey UserToken Integration App }

/// A noun whose rows are items.
pub(crate) trait Stored: Clone {
    /// Returns the row, if it is of this noun.
    fn of(item: &Item) -> Option<&Self>;
}

/// Returns true if two rows have the same value of a unique property.
pub(crate) fn clashes(row: &Item, other: &Item) -> bool {
    let is_taken = match (row, other) {
        (Item::User(row), Item::User(other)) => {
            let is_same = row.name == other.name
                || row.os_uid.is_some() && row.os_uid == other.os_uid
                || row.external_id.is_some() && row.external_id == other.external_id;
            let are_present = !row.has_left() && !other.has_left();
            are_present && is_same || [row.role, other.role] == [Role::Owner; 2]
        }
        (Item::Destination(row), Item::Destination(other)) => {
            row.id.noun() == other.id.noun() && row.name == other.name
        }
        (Item::App(row), Item::App(other)) => row.name == other.name,
        _ => false,
    };
    is_taken && row.id() != other.id()
}

/// A secret, live or dead.
#[derive(Clone)]
pub(crate) struct Secret {
    pub(crate) owner: Id,
    pub(crate) ends_at: Option<Timestamp>,
    /// The app token that the secret belongs to. Its owner is the app.
    pub(crate) token: Option<AppToken>,
    pub(crate) tombstone: Option<Tombstone>,
}

impl Secret {
    pub(crate) fn is_own(&self, owner: Id) -> bool {
        self.owner == owner && self.tombstone.is_none() && self.token.is_none()
    }

    pub(crate) fn is_token_of(&self, app: Id) -> bool {
        self.owner == app && self.tombstone.is_none() && self.token.is_some()
    }
}

/// The rows of one snapshot.
#[derive(Clone, Default)]
pub(crate) struct Rows {
    pub(crate) account: Option<Account>,
    /// The rows of all other nouns, oldest first.
    pub(crate) items: Vec<Item>,
    pub(crate) secrets: HashMap<[u8; 32], Secret>,
    pub(crate) audit: Vec<(u64, String, [u8; 32])>,
    pub(crate) imported: Vec<(Id, ImportEntry)>,
}

impl Rows {
    /// Returns the live secret with a digest.
    pub(crate) fn live(&self, digest: &Digest) -> Option<&Secret> {
        self.secrets.get(digest.as_bytes()).filter(|secret| secret.tombstone.is_none())
    }

    /// Returns the secrets that are selected, with their digests.
    pub(crate) fn secrets(
        &self,
        is_selected: impl Fn(&Secret) -> bool,
    ) -> impl Iterator<Item = (LiveSecret, &Secret)> {
        let selected = self.secrets.iter().filter(move |(_, secret)| is_selected(secret));
        selected.map(|(digest, secret)| {
            (LiveSecret { digest: Digest::stored(*digest), ends_at: secret.ends_at }, secret)
        })
    }

    /// Adds tombstones to the secrets that are selected.
    pub(crate) fn bury(&mut self, death: Death, at: Timestamp, is_selected: impl Fn(&Secret) -> bool) {
        for secret in self.secrets.values_mut().filter(|secret| is_selected(secret)) {
            secret.tombstone = Some(Tombstone { id: secret.owner, death, at });
        }
    }
}

/// The usage counts.
#[derive(Clone, Default)]
pub(crate) struct Usage {
    pub(crate) windows: HashMap<Id, Window>,
    pub(crate) hours: BTreeMap<(i64, Id), (u64, u64)>,
    pub(crate) last: HashMap<Id, Timestamp>,
}

impl Usage {
    pub(crate) fn add(&mut self, count: &UsageCount) {
        let hour = count.at.as_millisecond().div_euclid(HOUR);
        let (allowed, denied) = self.hours.entry((hour, count.id)).or_default();
        (*allowed, *denied) = (*allowed + count.allowed, *denied + count.denied);
        let last = self.last.entry(count.id).or_insert(count.at);
        *last = count.at.max(*last);
    }
}
