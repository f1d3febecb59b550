//! The account: creation, settings and transfer.

use jiff::Timestamp;

use super::session::Session;
use super::users::present_user;
use super::write_context::{fresh_id, request_id};
use crate::authz::{Acting, Action, Permit, Target, require};
use crate::error::Result;
use crate::model::{Account, AccountEdit, Change, Name, Noun, Policy, Role, User, UserRef};
use crate::ports::{Clock, Entropy};
use crate::store::{CreateStore, ReadTx, Store, Transaction, WriteTx};

/// An account to create, and the user who becomes its owner.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The name of the account.
    pub account: Name,
    /// The policy by which requests are judged.
    pub policy: Policy,
    /// The name of the owner.
    pub owner: Name,
    /// The uid of the operating-system user that is mapped to the owner.
    pub os_uid: u32,
}

impl Founding {
    /// Creates a store with the account in it.
    ///
    /// # Errors
    /// Those of [`CreateStore::create`].
    pub fn make_store<S: CreateStore>(
        &self,
        location: &S::Location,
        clock: &dyn Clock,
        entropy: &mut dyn Entropy,
    ) -> Result<S> {
        let request_id = request_id(entropy)?;
        let at = clock.now();
        S::create(location, entropy, |tx, entropy| self.found(tx, entropy, &request_id, at))
    }

    /// Adds the account and its owner to an empty store.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn found(
        &self,
        tx: &mut Transaction<impl WriteTx>,
        entropy: &mut dyn Entropy,
        request_id: &str,
        at: Timestamp,
    ) -> Result<()> {
        let owner = User {
            id: fresh_id(&**tx, Noun::User, entropy)?,
            name: self.owner.clone(),
            email: None,
            role: Role::Owner,
            os_uid: Some(self.os_uid),
            external_id: None,
            rate_limit: None,
            created_at: at,
            left_at: None,
            left_reason: None,
        };
        let owner_ref = UserRef { id: owner.id, name: owner.name.clone() };
        let account = Account::new(self.account.clone(), owner_ref, self.policy, at);
        let permit = Permit::founder(&owner, &account, request_id, at);
        tx.save_account(permit, &Change::Create(account))?;
        let permit = Permit::founder(&owner, &owner, request_id, at);
        tx.save_user(permit, &Change::Create(owner))
    }
}

impl<S: Store> Session<'_, S> {
    /// Returns the account.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the store cannot be read.
    pub fn account(&mut self) -> Result<Account> {
        self.read(|tx, acting| {
            let account = tx.account()?;
            require(acting, Action::ShowAccount, &Target::of(&account))?;
            Ok(account)
        })
    }

    /// Changes settings of the account.
    ///
    /// # Errors
    /// If the acting user is not permitted.
    pub fn edit_account(&mut self, edit: AccountEdit) -> Result<Account> {
        self.write(|context| {
            let before = context.tx.account()?;
            let permit = context.authorize(Action::ChangeAccount, &Target::of(&before))?;
            let after = edit.apply(&before);
            if before != after {
                context.tx.save_account(permit, &Change::Update { before, after: after.clone() })?;
            }
            Ok(after)
        })
    }

    /// Makes another user the Account Owner. The previous one becomes an admin.
    ///
    /// # Errors
    /// If the acting user is not permitted, or the user does not exist or has left.
    pub fn transfer_account(&mut self, reference: &str) -> Result<Account> {
        self.write(|context| {
            let (before, after) = plan_transfer(context.tx.reading(), context.acting, reference)?;
            let permit = context.authorize(Action::TransferAccount, &Target::of(&before))?;
            if before != after {
                context.tx.save_account(permit, &Change::Update { before, after: after.clone() })?;
            }
            Ok(after)
        })
    }

    /// Returns the account as it is, and as [`Session::transfer_account`] would make it.
    ///
    /// # Errors
    /// As there.
    pub fn preview_transfer_account(&mut self, reference: &str) -> Result<(Account, Account)> {
        self.keyring()?;
        self.read(|tx, acting| plan_transfer(tx, acting, reference))
    }
}

fn plan_transfer(tx: &mut impl ReadTx, acting: &Acting, reference: &str) -> Result<(Account, Account)> {
    let before = tx.account()?;
    require(acting, Action::TransferAccount, &Target::of(&before))?;
    let heir = present_user(tx, acting, reference, Action::ShowUser)?;
    let after = Account { owner: UserRef { id: heir.id, name: heir.name }, ..before.clone() };
    Ok((before, after))
}
