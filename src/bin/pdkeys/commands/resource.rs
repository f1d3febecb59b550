//! `rotate`, the same for whatever has a secret that can be rotated.

use std::path::PathBuf;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use pdkeys::manage::{HandOver, Session};
use pdkeys::model::{Noun, parse_duration};
use pdkeys::store::sqlite::SqliteStore;

use crate::failure::{Exit, Failure};
use crate::output::secrets::SecretSink;
use crate::output::times;
use crate::output::{self, Record};
use crate::session::{Context, FirstUse};

/// Something whose secret can be rotated.
pub(super) trait Rotated: Clone {
    /// How it is printed.
    type Record: Record;
    /// What it is.
    const NOUN: Noun;

    /// Finds it.
    fn find(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error>;

    /// Gives it another secret.
    fn rotate(
        session: &mut Session<'_, SqliteStore>,
        reference: &str,
        overlap: Option<SignedDuration>,
        hand_over: HandOver<'_, Self>,
    ) -> Result<Self, pdkeys::Error>;

    /// Stops the secret that an overlap keeps alive.
    fn end_overlap(session: &mut Session<'_, SqliteStore>, reference: &str) -> Result<Self, pdkeys::Error>;

    /// Until when the secret before goes on.
    fn overlap(&self, now: Timestamp) -> Option<Timestamp>;

    /// When it ends, if it does.
    fn ends(&self) -> Option<Timestamp>;

    /// What it is called in a question, and in full.
    fn names(&self) -> (String, String);

    /// It as it is printed.
    fn record(self, now: Timestamp) -> Self::Record;
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

    /// Write the secret to this new file, readable by its owner alone, instead of standard output (`-`)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    write_to: Option<PathBuf>,
}

impl Rotation {
    pub(super) fn run<C: Rotated>(self, context: &Context, reference: &str) -> Result<Exit, Failure> {
        let mut receiver = SecretSink::new(context, self.write_to);
        if !self.end_overlap {
            receiver.ready()?;
        }
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            if self.end_overlap {
                let ended = C::end_overlap(session, reference)?;
                context.terminal.done("Ended", &format!("the overlap of {}", ended.names().1));
                return output::changed(context, now, std::iter::once(ended.record(now)));
            }
            let overlap =
                self.overlap.as_deref().map(|length| parse_duration("overlap", length, now)).transpose()?;
            if overlap.is_none() {
                context
                    .rehearse(session, |session| C::rotate(session, reference, None, &mut |_, _| Ok(())))?;
                let names = C::find(session, reference)?.names();
                let consequence = "The present secret stops working at once:";
                context.confirm_all("Rotate", C::NOUN, consequence, &[names])?;
            }
            let rotated = C::rotate(session, reference, overlap, &mut |rotated, secret| {
                receiver.take(secret, &rotated.clone().record(now))
            })?;
            let named = format!("{}{}", rotated.names().1, times::ends(rotated.ends()));
            let mut told = vec![named, times::overlap(rotated.overlap(now))];
            told.extend(receiver.keep());
            context.terminal.done("Rotated", &told.join("; "));
            Ok(Exit::Done)
        })
    }
}
