//! Stores of the in-memory engine for the stories, and how they are tampered with.

use std::sync::Arc;

use pdkeys::manage::Founding;
use pdkeys::model::{Access, Keyring, StoreKey};
use pdkeys::ports::{Clock, SystemEntropy};
use pdkeys::store::Transaction;

use crate::in_memory::{InMemoryStore, Shared};
use crate::in_memory_rows::Item;
use crate::site::{Engine, Forgery};

/// A store in memory.
pub(crate) struct InMemory(Arc<Shared>);

impl Engine for InMemory {
    type Store = InMemoryStore;

    fn found(founding: &Founding, clock: &dyn Clock) -> Self {
        let keyring = Keyring::new(&StoreKey::from_bytes(&[7; 32]).unwrap()).unwrap();
        let shared = Arc::new(Shared::new(keyring));
        let mut store = InMemoryStore(Arc::clone(&shared));
        let mut tx = Transaction::begin(&mut store).unwrap();
        founding.found(&mut tx, &mut SystemEntropy, "feedfacefeedface", clock.now()).unwrap();
        tx.commit().unwrap();
        Self(shared)
    }

    fn open(&self) -> InMemoryStore {
        InMemoryStore(Arc::clone(&self.0))
    }

    fn forge(&self, forgery: &Forgery) {
        let mut rows = self.0.rows.lock().unwrap();
        let rows = Arc::make_mut(&mut rows);
        let audit = &mut rows.audit;
        match forgery {
            Forgery::Alter { number, from, to } => {
                let (_, record, _) = audit.iter_mut().find(|(stored, ..)| stored == number).unwrap();
                *record = record.replace(from, to);
            }
            Forgery::LeaveOut { number } => audit.retain(|(stored, ..)| stored != number),
            Forgery::CutAfter { number } => audit.retain(|(stored, ..)| stored <= number),
            Forgery::Widen { id } => {
                let item = rows.items.iter_mut().find(|item| item.id() == *id).unwrap();
                let Item::GeneralKey(key) = item else { panic!("{id} is no general key") };
                key.access = Access::Full;
            }
            Forgery::Exchange { id } => {
                let own = *rows.secrets.iter().find(|(_, secret)| secret.is_own(*id)).unwrap().0;
                let secret = rows.secrets.remove(&own).unwrap();
                rows.secrets.insert([own[0]; 32], secret);
            }
            Forgery::TakeOut { id } => {
                rows.secrets.retain(|_, secret| secret.owner != *id || secret.tombstone.is_some());
                rows.items.retain(|item| item.id() != *id);
            }
            Forgery::Forget { id } => {
                rows.secrets.retain(|_, secret| secret.owner != *id || secret.tombstone.is_none());
            }
        }
    }
}
