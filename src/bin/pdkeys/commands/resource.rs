//! What the commands for keys, tokens, apps, integrations and users have in common: show, rotate, remove, and the
//! question and report around a change.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::{HandOver, Session};
use pdkeys::model::{Label, Noun, parse_duration};
use pdkeys::store::sqlite::SqliteStore;

use super::args::Reason;
use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::{self, Format, Record, times};
use crate::session::{Context, FirstUse};

/// Something that commands change and print.
pub(super) trait Resource: Sized {
    /// How it is printed.
    type Record: Record;

    const NOUN: Noun;

    /// Finds one by its id, or by its name if it has one.
    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error>;

    /// Returns the id or name for a question about it alone.
    fn short_name(&self) -> String;

    /// Returns its description in lists and notices.
    fn describe(&self) -> String;

    fn into_record(self, now: Timestamp) -> Self::Record;
}

/// A resource of which several are removed at a time.
pub(super) trait Removable: Resource {
    /// What removing does, as a heading above a list.
    const CONSEQUENCE: &'static str;

    /// Returns what would be removed.
    fn preview_removal(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error>;

    fn remove(
        session: &mut Session<'_, SqliteStore>,
        references: &[String],
        reason: Option<&Label>,
    ) -> Result<Vec<Self>, pdkeys::Error>;
}

/// A resource whose secret can be rotated.
pub(super) trait Rotatable: Resource + Clone {
    /// Returns what would be rotated.
    fn preview_rotation(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
    ) -> Result<Self, pdkeys::Error>;

    /// Gives it a new secret. The present one goes on for `overlap`, if that is given.
    fn rotate(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, Self>,
    ) -> Result<Self, pdkeys::Error>;

    /// Ends the secret that an overlap keeps alive.
    fn end_overlap(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error>;

    /// Returns when the overlap ends, if there is one.
    fn overlap(&self, now: Timestamp) -> Option<Timestamp>;

    /// Returns when it expires, if it does.
    fn expiry(&self) -> Option<Timestamp>;
}

/// Shows one resource.
pub(super) fn show<R: Resource>(context: &Context, reference: &str) -> Result<Exit, Failure> {
    context.with_session(FirstUse::NeedsStore, |session| {
        let found = R::find(session, reference)?;
        let now = session.at();
        output::show(&context.terminal, context.output, now, &found.into_record(now))?;
        Ok(Exit::Done)
    })
}

/// Asks before a change to some resources, and lists them.
pub(super) fn confirm<R: Resource>(
    context: &Context,
    verb: &str,
    consequence: &str,
    resources: &[R],
) -> Result<(), Failure> {
    let mut what = vec![consequence.to_owned()];
    what.extend(resources.iter().map(|resource| format!("  {}", resource.describe())));
    let question = match resources {
        [resource] => format!("{verb} {} {}?", R::NOUN, resource.short_name()),
        several => format!("{verb} {} {}s?", several.len(), R::NOUN),
    };
    context.confirm(&what, &question)
}

/// Reports a change to some resources, and prints their records if a format is given.
pub(super) fn report<R: Resource>(
    context: &Context,
    verb: &str,
    changed: impl IntoIterator<Item = R>,
    now: Timestamp,
) -> Result<Exit, Failure> {
    let changed: Vec<R> = changed.into_iter().collect();
    for resource in &changed {
        context.terminal.done(verb, &resource.describe());
    }
    print_changed(context, changed.into_iter().map(|resource| resource.into_record(now)), now)
}

/// Prints the records of what was changed. Without a format nothing is printed, since the notice says it.
pub(super) fn print_changed<R: Record>(
    context: &Context,
    mut records: impl Iterator<Item = R>,
    now: Timestamp,
) -> Result<Exit, Failure> {
    if context.output != Format::Table {
        output::list(&context.terminal, context.output, now, |emit| {
            records.try_for_each(emit).map_err(Failure::from)
        })?;
    }
    Ok(Exit::Done)
}

/// Removes resources, after asking.
pub(super) fn remove<R: Removable>(
    context: &Context,
    references: &[String],
    reason: &Reason,
) -> Result<Exit, Failure> {
    let reason = reason.parse()?;
    context.with_session(FirstUse::NeedsStore, |session| {
        if !context.yes {
            let resources = R::preview_removal(session, references, reason.as_ref())?;
            confirm(context, "Remove", R::CONSEQUENCE, &resources)?;
        }
        let removed = R::remove(session, references, reason.as_ref())?;
        report(context, "Removed", removed, session.at())
    })
}

/// The options of `rotate`.
#[derive(Args, Debug)]
pub(super) struct Rotation {
    /// How long the present secret goes on, such as `24h`
    #[arg(long, value_name = "LENGTH")]
    overlap: Option<String>,

    /// Make no new secret, but stop the one that an overlap keeps alive
    #[arg(long, conflicts_with_all = ["overlap", "write_to"])]
    end_overlap: bool,

    /// Write the secret to this new file, readable only by its owner, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Rotation {
    /// Rotates the secret of a resource, or ends an overlap. Without an overlap it asks first.
    pub(super) fn run<R: Rotatable>(self, context: &Context, reference: &str) -> Result<Exit, Failure> {
        let mut sink = SecretSink::new(context, self.write_to);
        if !self.end_overlap {
            sink.ready()?;
        }
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            if self.end_overlap {
                let ended = R::end_overlap(session, reference)?;
                context.terminal.done("Ended", &format!("the overlap of {}", ended.describe()));
                return print_changed(context, std::iter::once(ended.into_record(now)), now);
            }
            let overlap =
                self.overlap.as_deref().map(|length| parse_duration("overlap", length, now)).transpose()?;
            if overlap.is_none() && !context.yes {
                let resource = R::preview_rotation(session, reference)?;
                confirm(context, "Rotate", "The present secret stops working at once:", &[resource])?;
            }
            let rotated = R::rotate(session, reference, overlap, &mut |rotated, secret| {
                sink.take(secret, &rotated.clone().into_record(now))
            })?;
            let description = format!("{}{}", rotated.describe(), times::ends(rotated.expiry()));
            let mut notice = vec![description, times::overlap(rotated.overlap(now))];
            notice.extend(sink.keep());
            context.terminal.done("Rotated", &notice.join("; "));
            Ok(Exit::Done)
        })
    }
}
