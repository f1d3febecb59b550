//! Where a story takes place: a store of one engine, its owner, and a time that stands still until it is moved.

use std::ops::ControlFlow;

use jiff::{SignedDuration, Timestamp};
use pdkeys::Result;
use pdkeys::authz::{Acting, Action, Target, authorize};
use pdkeys::manage::Founding;
use pdkeys::model::{
    Access, AuditRecord, Change, Digest, GeneralKey, Id, KeyOrder, Label, Name, Noun, Policy, Role, Secret,
    SecretChange, User, UserRef,
};
use pdkeys::ports::Clock;
use pdkeys::store::{AuditQuery, DigestOwner, KeyQuery, ReadTx as _, Store, Transaction, UserBy, UserQuery};

/// An engine behind the interface, holding one store for the length of one story.
pub(crate) trait Engine: Sized {
    /// One connection to the store.
    type Store: Store + Send;

    /// Makes a new store, in a place of its own, with this account in it.
    fn found(founding: &Founding, clock: &dyn Clock) -> Self;

    /// Opens the store, which others may have open too.
    fn open(&self) -> Self::Store;

    /// Changes the audit trail, or what it tells of, as somebody could who can write the store's data but has not the store key.
    fn forge(&self, forgery: &Forgery);
}

/// A change of the audit trail, or of what it tells of, behind the store's back.
#[derive(Clone, Debug)]
pub(crate) enum Forgery {
    /// In the stored record of a number, one text is put in place of another.
    Alter { number: u64, from: String, to: String },
    /// The record of a number is taken out; those after it stay as they are.
    LeaveOut { number: u64 },
    /// Every record after a number is taken out.
    CutAfter { number: u64 },
    /// A general key may reach everything.
    Widen { id: Id },
    /// A general key has another secret.
    Exchange { id: Id },
    /// A thing is no more.
    TakeOut { id: Id },
    /// A dead secret is forgotten.
    Forget { id: Id },
}

/// Over which connections a story is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One, for reading and writing.
    One,
    /// Another before every step.
    Anew,
    /// One that writes and one that reads.
    Two,
}

/// A time that stands still.
pub(crate) struct Frozen(pub(crate) Timestamp);

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The operating-system user of the owner.
pub(crate) const OWNER_UID: u32 = 4711;

pub(crate) struct Site<E: Engine> {
    pub(crate) engine: E,
    connections: Connections,
    writer: Option<E::Store>,
    reader: Option<E::Store>,
    owner: User,
    now: Timestamp,
}

impl<E: Engine> Site<E> {
    /// Founds an account of `sarah`, and opens it.
    pub(crate) fn found(connections: Connections) -> Self {
        let now = moment("2026-03-01T12:00:00.125Z");
        let founding = Founding {
            account: Name::parse(Noun::Account, "acme").unwrap(),
            policy: Policy::PagerDuty,
            owner: name("sarah"),
            os_uid: OWNER_UID,
        };
        let engine = E::found(&founding, &Frozen(now));
        let owner = engine.open().read().unwrap().user(UserBy::OsUser(OWNER_UID)).unwrap().unwrap();
        Self { engine, connections, writer: None, reader: None, owner, now }
    }

    /// The connection to write through.
    pub(crate) fn writer(&mut self) -> &mut E::Store {
        if self.connections == Connections::Anew {
            self.writer = None;
        }
        self.writer.get_or_insert_with(|| self.engine.open())
    }

    /// The connection to read through.
    pub(crate) fn reader(&mut self) -> &mut E::Store {
        if self.connections == Connections::Two {
            self.reader.get_or_insert_with(|| self.engine.open())
        } else {
            self.writer()
        }
    }

    pub(crate) fn owner(&self) -> &User {
        &self.owner
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time go by.
    pub(crate) fn wait(&mut self, minutes: i64) -> Timestamp {
        self.now += SignedDuration::from_mins(minutes);
        self.now
    }

    /// The owner, acting now.
    pub(crate) fn acting(&self) -> Acting {
        Acting::os_user(self.owner.clone(), "feedfacefeedface".to_owned(), self.now)
    }

    /// Makes one change to a general key, and commits it.
    pub(crate) fn change_key(
        &mut self,
        action: Action,
        change: &Change<GeneralKey>,
        secrets: SecretChange,
    ) -> Result<()> {
        let permit = authorize(&self.acting(), action, &Target::of(change.subject()))?;
        let mut tx = Transaction::begin(self.writer())?;
        tx.save(permit, change, secrets)?;
        tx.commit()
    }

    /// Adds a key with a secret.
    pub(crate) fn add_key(&mut self, key: &GeneralKey, secret: &str) {
        let digest = self.digest(secret);
        self.change_key(Action::CreateGeneralKey, &Change::Create(key.clone()), SecretChange::Issue(digest))
            .unwrap();
    }

    /// Rotates a key to a secret, and gives the key as it is then.
    pub(crate) fn rotate(
        &mut self,
        key: &GeneralKey,
        secret: &str,
        old_ends_at: Option<Timestamp>,
    ) -> GeneralKey {
        let new = self.digest(secret);
        let after = GeneralKey { overlap_ends_at: old_ends_at, ..key.clone() };
        let change = Change::Update { before: key.clone(), after: after.clone() };
        self.change_key(Action::RotateGeneralKey, &change, SecretChange::Rotate { new, old_ends_at })
            .unwrap();
        after
    }

    pub(crate) fn remove_key(&mut self, key: &GeneralKey) {
        let change = Change::Delete { before: key.clone(), reason: Some(label("key-compromise")) };
        self.change_key(Action::RemoveGeneralKey, &change, SecretChange::Keep).unwrap();
    }

    /// Makes one change to a user, and commits it.
    pub(crate) fn change_user(&mut self, action: Action, change: &Change<User>) -> Result<()> {
        let permit = authorize(&self.acting(), action, &Target::of(change.subject()))?;
        let mut tx = Transaction::begin(self.writer())?;
        tx.save_user(permit, change)?;
        tx.commit()
    }

    pub(crate) fn add_user(&mut self, user: &User) {
        self.change_user(Action::AddUser, &Change::Create(user.clone())).unwrap();
    }

    /// A key that the owner makes now, with nothing out of the ordinary.
    pub(crate) fn new_key(&self, id: &str, description: &str) -> GeneralKey {
        GeneralKey {
            id: id.parse().unwrap(),
            description: label(description),
            hint: Some(secret("0123456789abcdefWXYZ").hint()),
            access: Access::Full,
            created_at: self.now,
            created_by: self.owner_ref(),
            disabled: None,
            expires_at: None,
            rate_limit: None,
            overlap_ends_at: None,
            last_used_at: None,
        }
    }

    /// A user who is added now, with nothing but a name and a role.
    pub(crate) fn new_user(&self, id: &str, called: &str) -> User {
        User {
            id: id.parse().unwrap(),
            name: name(called),
            email: None,
            role: Role::Observer,
            os_uid: None,
            external_id: None,
            rate_limit: None,
            created_at: self.now,
            left_at: None,
            left_reason: None,
        }
    }

    pub(crate) fn owner_ref(&self) -> UserRef {
        UserRef { id: self.owner.id, name: self.owner.name.clone() }
    }

    pub(crate) fn key(&mut self, id: Id) -> Option<GeneralKey> {
        self.reader().read().unwrap().general_key(id).unwrap()
    }

    /// The ids of all keys in an order.
    pub(crate) fn key_ids(&mut self, order: KeyOrder, reverse: bool) -> Vec<String> {
        let mut ids = Vec::new();
        self.reader()
            .read()
            .unwrap()
            .general_keys(&in_order(order, reverse), &mut |key| {
                ids.push(key.id.to_string());
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        ids
    }

    pub(crate) fn users(&mut self) -> Vec<User> {
        let mut users = Vec::new();
        self.reader()
            .read()
            .unwrap()
            .users(&UserQuery::default(), &mut |user| {
                users.push(user);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        users
    }

    pub(crate) fn digest(&mut self, plain: &str) -> Digest {
        self.reader().keyring().unwrap().digest(&secret(plain).fingerprint())
    }

    /// What a secret belongs to.
    pub(crate) fn holder(&mut self, plain: &str) -> Option<DigestOwner> {
        let digest = self.digest(plain);
        self.reader().read().unwrap().digest_owner(&digest).unwrap()
    }

    pub(crate) fn records(&mut self, filter: &AuditQuery) -> Vec<AuditRecord> {
        let mut records = Vec::new();
        self.reader()
            .read()
            .unwrap()
            .audit_records(filter, &mut |record| {
                records.push(record);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        records
    }

    /// All that reads show of the store, to be compared with what they show later.
    pub(crate) fn everything(&mut self) -> String {
        let mut keys = Vec::new();
        let account = {
            let mut tx = self.reader().read().unwrap();
            tx.general_keys(&in_order(KeyOrder::Created, false), &mut |key| {
                keys.push(key);
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            (tx.account().unwrap(), tx.audit_head().unwrap())
        };
        format!("{account:?}\n{:?}\n{keys:?}\n{:?}", self.users(), self.records(&AuditQuery::default()))
    }
}

/// Selects every general key, in an order.
pub(crate) fn in_order(order: KeyOrder, reverse: bool) -> KeyQuery {
    KeyQuery { order, reverse, ..KeyQuery::all(Timestamp::UNIX_EPOCH) }
}

pub(crate) fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(Noun::User, text).unwrap()
}

pub(crate) fn secret(plain: &str) -> Secret {
    Secret::presented(plain.to_owned())
}
