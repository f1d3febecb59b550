//! Stories of imports: many things come in together, with one record.

use pdkeys::Result;
use pdkeys::authz::{Action, Target, authorize};
use pdkeys::error::Conflict;
use pdkeys::model::{GeneralKey, Imported, KeyOrder, Noun, UserToken};
use pdkeys::store::{AuditQuery, Clash, Death, ImportTx, ReadTx as _, Store, Tombstone, Transaction};

use crate::site::{Engine, Site, label};

/// Imports what `bring` brings.
fn import<E: Engine>(
    site: &mut Site<E>,
    action: Action,
    bring: impl FnOnce(&mut ImportTx<'_, <E::Store as Store>::WriteTx<'_>>) -> Result<Imported>,
) -> Result<Imported> {
    let acting = site.acting();
    let mut tx = Transaction::begin(site.writer())?;
    let permit = authorize(&acting, action, &Target::of(&tx.account()?))?;
    let imported = tx.import(permit, bring)?;
    tx.commit()?;
    Ok(imported)
}

fn new_token<E: Engine>(site: &Site<E>, id: &str) -> UserToken {
    UserToken {
        id: id.parse().unwrap(),
        user: site.owner().clone(),
        description: label("laptop"),
        hint: None,
        access: pdkeys::model::Access::Role(None),
        created_at: site.now(),
        expires_at: None,
        overlap_ends_at: None,
        last_used_at: None,
    }
}

fn brought(general_keys: u64, user_tokens: u64) -> Imported {
    Imported {
        account: "acme".to_owned(),
        sha256: Some([0xab; 32]),
        general_keys,
        user_tokens,
        ..Imported::default()
    }
}

pub(crate) fn what_is_imported_reads_back_and_leaves_one_record<E: Engine>(site: &mut Site<E>) {
    let before = site.records(&AuditQuery::default()).len();
    let keys = [
        site.new_key("K00000001", "one"),
        GeneralKey { hint: None, ..site.new_key("K00000002", "taken over as a hash") },
    ];
    let token = new_token(site, "T00000001");
    let user = site.new_user("U00000001", "jim");
    let digests = ["a", "b", "c"].map(|plain| site.digest(plain));
    let mut seen_in_between = None;
    let imported = import(site, Action::Import, |intake| {
        for (key, digest) in keys.iter().zip(&digests) {
            assert_eq!(intake.add(key, digest)?, None);
        }
        assert_eq!(intake.add(&token, &digests[2])?, None);
        intake.add_user(&user)?;
        seen_in_between = intake.rows().general_key(keys[0].id)?;
        Ok(Imported { users: 1, skipped: 3, ..brought(2, 1) })
    });
    assert_eq!(imported.unwrap().count(), 4);
    assert_eq!(seen_in_between.as_ref(), Some(&keys[0]), "what was added is seen at once");
    for key in &keys {
        assert_eq!(site.key(key.id).as_ref(), Some(key));
    }
    assert_eq!(site.reader().read().unwrap().user_token(token.id).unwrap(), Some(token));
    assert!(site.users().contains(&user));
    for (plain, id) in [("a", "K00000001"), ("b", "K00000002"), ("c", "T00000001")] {
        let holder = site.holder(plain).unwrap();
        assert_eq!(holder, pdkeys::store::DigestOwner::Live { id: id.parse().unwrap(), ends_at: None });
    }
    let records = site.records(&AuditQuery::default());
    assert_eq!(records.len(), before + 1);
    let fields: Vec<_> =
        records[0].details.fields.iter().map(|field| (field.name.as_str(), field.value.as_deref())).collect();
    assert_eq!(
        fields,
        [
            ("file_sha256", Some("ab".repeat(32).as_str())),
            ("general_keys", Some("2")),
            ("user_tokens", Some("1")),
            ("users", Some("1")),
            ("skipped_lines", Some("3")),
        ]
    );
    assert_eq!(
        (records[0].root_resource.id.as_str(), records[0].root_resource.summary.as_str()),
        ("account", "acme")
    );
}

pub(crate) fn a_secret_that_is_somebodys_does_not_come_in<E: Engine>(site: &mut Site<E>) {
    let present = site.new_key("K00000001", "taken");
    site.add_key(&present, "taken");
    let removed = site.new_key("K00000002", "removed");
    site.add_key(&removed, "removed");
    let removed_at = site.wait(1);
    site.remove_key(&removed);
    let [taken_digest, removed_digest, first, second, third] =
        ["taken", "removed", "first", "second", "third"].map(|plain| site.digest(plain));
    let ids = ["K00000003", "K00000004", "K00000005"].map(|id| site.new_key(id, id));
    let of_a_user = new_token(site, "T00000001");
    let gone = Tombstone { id: removed.id, death: Death::Removed, at: removed_at };
    let imported = import(site, Action::Import, |intake| {
        assert_eq!(intake.add(&ids[0], &first)?, None);
        assert_eq!(intake.add(&ids[1], &taken_digest)?, Some(Clash::Taken(present.id)));
        assert_eq!(intake.add(&ids[1], &removed_digest)?, Some(Clash::Dead(gone.clone())));
        assert_eq!(intake.add(&ids[1], &second)?, None);
        assert_eq!(intake.add(&of_a_user, &third)?, None);
        for (digest, noun, index) in
            [(&first, Noun::GeneralKey, 0), (&second, Noun::GeneralKey, 1), (&third, Noun::UserToken, 0)]
        {
            assert_eq!(intake.add(&ids[2], digest)?, Some(Clash::Added { noun, index }));
        }
        Ok(brought(2, 1))
    });
    imported.unwrap();
    assert_eq!(site.key_ids(KeyOrder::Created, false), ["K00000001", "K00000003", "K00000004"]);
}

pub(crate) fn an_import_that_fails_or_brings_nothing_leaves_nothing<E: Engine>(site: &mut Site<E>) {
    let before = site.everything();
    let key = site.new_key("K00000001", "one");
    let digest = site.digest("a");
    let failed = import(site, Action::Import, |intake| {
        intake.add(&key, &digest)?;
        Err(Conflict::Fault("line 7".to_owned()).into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "line 7");
    // A permit to do something else to the account is none to import.
    let refused = import(site, Action::ChangeAccount, |intake| {
        intake.add(&key, &digest)?;
        Ok(brought(1, 0))
    });
    assert!(refused.is_err());
    import(site, Action::Import, |_| Ok(brought(0, 0))).unwrap();
    assert_eq!(site.everything(), before);
}
