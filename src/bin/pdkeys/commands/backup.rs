//! The commands `pdkeys backup` and `pdkeys restore`.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use pdkeys::ErrorKind;
use pdkeys::error::{Conflict, Refusal};
use pdkeys::manage::{Session, restore_lost};
use pdkeys::model::Head;
use pdkeys::ports::{Clock as _, SystemClock, SystemEntropy};
use pdkeys::store::sqlite::{Backup as Checked, SqliteStore};
use pdkeys::store::{
    BackupStore as _, Chain, Offered, Place, Reactivated, ReadTx as _, Replay, Restored, Store as _,
    UserQuery,
};
use serde::Serialize;

use super::audit::{DifferenceRecord, all_in_words};
use crate::failure::{Exit, Failure};
use crate::os_user::os_user;
use crate::output::{self, Format};
use crate::paths::{STREAM, no_stream};
use crate::session::{Context, FirstUse};

/// Copy the store to a new file, while others use it
///
/// The copy is the store at one point in time, and is verified before it gets its name. An existing file is not
/// overwritten. The copy is worthless without the store key, which is copied only with --with-store-key. Usage counts are
/// not part of it.
#[derive(Args, Debug)]
pub(crate) struct Backup {
    /// The file to make; `-` is standard output
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,

    /// Copy the store key too, to this new file; keep it away from the backup
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("store key"))]
    with_store_key: Option<PathBuf>,
}

/// A backup that was made, as it is printed.
#[derive(Debug, Serialize)]
struct BackupRecord {
    file: String,
    store_key: Option<String>,
    records: u64,
    head: String,
}

impl Backup {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            if self.file.as_os_str() == STREAM {
                return self.stream(context, session);
            }
            let head = session.back_up(&self.file, self.with_store_key.as_deref())?;
            let told = format!("the store to {}; {} audit records, none altered", self.file.display(), head.number);
            context.terminal.done("Copied", &told);
            match &self.with_store_key {
                Some(file) => {
                    context.terminal.done("Copied", &format!("the store key to {}", file.display()));
                    context.terminal.hint("keep the two apart: together they are the store");
                }
                None => context.terminal.hint(
                    "the copy cannot be used alone: it takes the store key, which --with-store-key FILE copies",
                ),
            }
            if context.output != Format::Table {
                let record = BackupRecord {
                    file: self.file.display().to_string(),
                    store_key: self.with_store_key.as_ref().map(|file| file.display().to_string()),
                    records: head.number,
                    head: head.to_string(),
                };
                output::show(&context.terminal, context.output, session.at(), &record)?;
            }
            Ok(Exit::Done)
        })
    }

    /// Writes the copy, and nothing else, to standard output.
    fn stream(&self, context: &Context, session: &mut Session<'_, SqliteStore>) -> Result<Exit, Failure> {
        if self.with_store_key.is_some() || context.output != Format::Table {
            return Err(Failure::usage(
                "with the copy on standard output there is no room for anything else",
            )
            .with_hint("name a file for the copy, or leave out --with-store-key and -o"));
        }
        if context.terminal.stdout_is_tty() {
            return Err(
                Failure::usage("a copy of the store is not shown on a terminal").with_hint("> FILE keeps it")
            );
        }
        let head = session.stream_backup(&mut context.terminal.plain_data())?;
        let told = format!("the store to standard output; {} audit records, none altered", head.number);
        context.terminal.done("Copied", &told);
        Ok(Exit::Done)
    }
}

/// Put a backup in the store's place; only the Account Owner may
///
/// The backup is checked first. The question names which keys will work again that were disabled, removed or rotated
/// since, and how the backup and the present store differ from their audit trails; with `--yes` these are warnings. The
/// present store is kept as a copy. Then the backup becomes the store at once, also for processes that have it open.
///
/// If there is no store, or it cannot be read, every user who can write the files may restore it, as with init; not behind
/// sudo.
#[derive(Args, Debug)]
pub(crate) struct Restore {
    /// The backup; `-` is standard input
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,

    /// The store key of the backup, if there is none beside the store; it is copied there
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    #[arg(value_parser = no_stream("store key"))]
    store_key: Option<PathBuf>,
}

/// A backup that was restored, as it is printed.
#[derive(Debug, Serialize)]
struct RestoreRecord {
    records: u64,
    head: String,
    replaced_store: Option<String>,
    working_again: Option<Vec<String>>,
    differences: Vec<DifferenceRecord>,
}

impl Restore {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (place, _) = context.place()?;
        if is_lost(&place)? {
            self.in_place_of_nothing(context, &place)
        } else {
            self.in_place(context, &place)
        }
    }

    fn in_place(&self, context: &Context, place: &Place) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            // Checked before any file is read.
            session.require_restore()?;
            let backup = self.check(context, place)?;
            let reactivated = session.reactivated_by(&backup)?;
            let replay = SqliteStore::replay_of(&backup).clone();
            let doubts = [doubts_of_backup(&replay), doubts_of_present(session.replay_present())].concat();
            let what = consequence(place, &backup, Some(&reactivated), &doubts)?;
            context.confirm(&what, "Restore it?")?;
            let restored = session.restore(backup, &reactivated)?;
            // Without a question, this has not been shown yet.
            if context.yes {
                for reactivated in &reactivated {
                    context.terminal.warning(&format!("{} works again", in_words(reactivated)));
                }
                warn_of(context, &doubts);
            }
            tell(context, &restored, Some(&reactivated), &replay)
        })
    }

    fn in_place_of_nothing(&self, context: &Context, place: &Place) -> Result<Exit, Failure> {
        context.rights.refuse_founding()?;
        context.refuse_token()?;
        let backup = self.check(context, place)?;
        let replay = SqliteStore::replay_of(&backup).clone();
        let doubts = doubts_of_backup(&replay);
        context.confirm(&consequence(place, &backup, None, &doubts)?, "Restore it?")?;
        let os_uid = os_user(place.directory())?;
        let restored = restore_lost::<SqliteStore>(place, backup, os_uid, &SystemClock, &mut SystemEntropy)?;
        if context.yes {
            warn_of(context, &doubts);
        }
        tell(context, &restored, None, &replay)
    }

    fn check(&self, context: &Context, place: &Place) -> Result<Checked, Failure> {
        let store_key = self.store_key.as_deref();
        let check = |offered| SqliteStore::check_backup(place, offered, store_key, &mut SystemEntropy);
        if self.file.as_os_str() != STREAM {
            return Ok(check(Offered::At(&self.file))?);
        }
        if context.terminal.reads_from(place.database()) {
            return Err(
                pdkeys::Error::from(ErrorKind::from(Conflict::IsStore(place.database().to_owned()))).into()
            );
        }
        let (name, mut input) = (Path::new("standard input"), context.terminal.input());
        if input.is_terminal() {
            return Err(Failure::usage("a backup is not typed").with_hint("< FILE reads one"));
        }
        Ok(check(Offered::Stream { name, content: &mut input })?)
    }
}

/// Returns whether there is no store, or one that cannot say who may restore it.
fn is_lost(place: &Place) -> Result<bool, Failure> {
    let read = SqliteStore::open(place).and_then(|mut store| {
        let mut tx = store.read()?;
        tx.account()?;
        tx.users(&UserQuery::default(), &mut |_| Ok(ControlFlow::Continue(())))
    });
    match read {
        Ok(()) => Ok(false),
        Err(error) => match error.kind() {
            ErrorKind::NoStore(_)
            | ErrorKind::Damaged(_)
            | ErrorKind::StoreRefused { refusal: Refusal::Corrupt, .. } => Ok(true),
            _ => Err(error.into()),
        },
    }
}

/// Describes what restoring will do.
fn consequence(
    place: &Place,
    backup: &Checked,
    reactivated: Option<&[Reactivated]>,
    doubts: &[String],
) -> Result<Vec<String>, Failure> {
    let (account, Head { number, .. }) = SqliteStore::account_of(backup)?;
    let mut what = vec![format!(
        "{} becomes the store of account {} as it was after audit record {number}; what was done since is undone.",
        place.database().display(),
        account.name
    )];
    match reactivated {
        None => what.push(
            "It is not known which keys were disabled, removed or rotated since: there is no store to ask."
                .to_owned(),
        ),
        Some([]) => what.push("Nothing works again that does not work now.".to_owned()),
        Some(reactivated) => {
            what.push("These work again:".to_owned());
            what.extend(reactivated.iter().map(|reactivated| format!("  {}", in_words(reactivated))));
        }
    }
    if !doubts.is_empty() {
        what.push("Not everything follows from the audit trails:".to_owned());
        what.extend(doubts.iter().map(|doubt| format!("  {doubt}")));
    }
    Ok(what)
}

/// Describes how the backup differs from its audit trail.
fn doubts_of_backup(replay: &Replay) -> Vec<String> {
    all_in_words(replay).into_iter().map(|difference| format!("in the backup, {difference}")).collect()
}

/// Describes how the present store differs from its audit trail. Its faults do not prevent restoring.
fn doubts_of_present(verified: pdkeys::Result<(Chain, Option<Replay>)>) -> Vec<String> {
    match verified {
        Ok((Chain::BrokenAt(number), _)) => {
            vec![format!("in the present store, the audit trail is broken at record {number}")]
        }
        Ok((Chain::Intact(_), replay)) => {
            let differences = replay.iter().flat_map(all_in_words);
            differences.map(|difference| format!("in the present store, {difference}")).collect()
        }
        Err(error) => vec![format!("the present store cannot be compared with its audit trail: {error}")],
    }
}

fn warn_of(context: &Context, doubts: &[String]) {
    for doubt in doubts {
        context.terminal.warning(doubt);
    }
}

/// Describes a key that works again, and why it does not now.
fn in_words(reactivated: &Reactivated) -> String {
    let hint = reactivated.hint.as_ref().map(|hint| format!(", ...{hint}")).unwrap_or_default();
    let (id, status) = (reactivated.id, reactivated.status.as_str());
    format!("{} {id} ({}{hint}), {status} now,", id.noun(), reactivated.description)
}

fn tell(
    context: &Context,
    restored: &Restored,
    reactivated: Option<&[Reactivated]>,
    replay: &Replay,
) -> Result<Exit, Failure> {
    context.terminal.done("Restored", &format!("the store; {} audit records", restored.head.number));
    if let Some(kept) = &restored.kept {
        context.terminal.hint(&format!("what was there before is in {}", kept.display()));
    }
    if context.output != Format::Table {
        let record = RestoreRecord {
            records: restored.head.number,
            head: restored.head.to_string(),
            replaced_store: restored.kept.as_ref().map(|kept| kept.display().to_string()),
            working_again: reactivated
                .map(|all| all.iter().map(|reactivated| reactivated.id.to_string()).collect()),
            differences: replay.differences.iter().map(DifferenceRecord::from).collect(),
        };
        output::show(&context.terminal, context.output, SystemClock.now(), &record)?;
    }
    Ok(Exit::Done)
}
