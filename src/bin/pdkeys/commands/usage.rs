//! The command `pdkeys usage`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCompleter;
use jiff::Timestamp;
use pdkeys::manage::{Counts, Session, Used};
use pdkeys::model::{CredentialKind, Id, parse_duration, parse_past_time};
use pdkeys::store::sqlite::SqliteStore;
use serde::Serialize;

use crate::complete;
use crate::environment::locale_is_utf8;
use crate::failure::{Exit, Failure};
use crate::output::times;
use crate::output::{self, CellStyle, Format, Record};
use crate::session::{Context, FirstUse};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
/// The number of days for which counts are kept.
const MOST_DAYS: i64 = 90;
/// The length of the longest bar, in characters.
const LONGEST_BAR: u64 = 40;

/// Show when keys were last used, and how often they were allowed or denied
///
/// Without an id, shows the most used keys; with one, that key, by day and by hour. `--by` shows only the periods, of one
/// key or of all together. Counts are kept for 90 days. The owner and admins see everything, a Manager their own tokens and
/// all integrations, others their own tokens.
#[derive(Args, Debug)]
pub(crate) struct Usage {
    /// The id of a key, a token, an integration or an app
    #[arg(add = ArgValueCompleter::new(complete::used_ids))]
    id: Option<String>,

    /// Show only the counts in each of these periods
    #[arg(long, value_enum)]
    by: Option<Period>,

    /// Only what happened at or after this time: `7d` ago, `2027-01-31`, or a time
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,

    /// Show at most this many keys
    #[arg(long, value_name = "NUMBER", default_value_t = 10, conflicts_with_all = ["id", "by", "unused_for"])]
    top: usize,

    /// Show the keys not used for this long instead, such as `90d`
    #[arg(long, value_name = "LENGTH", conflicts_with_all = ["id", "by", "since"])]
    unused_for: Option<String>,

    /// Draw bars with ASCII characters, as in a locale that is not UTF-8
    #[arg(long)]
    ascii: bool,
}

/// The period of a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Period {
    /// An hour
    Hour,
    /// A day, in UTC
    Day,
}

impl Period {
    const fn seconds(self) -> i64 {
        match self {
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }

    /// Returns how far to look back by default, in seconds.
    const fn usual(self) -> i64 {
        match self {
            Self::Hour => DAY,
            Self::Day => 14 * DAY,
        }
    }

    /// Returns the beginning of the period that contains a time.
    fn begins(self, moment: Timestamp) -> Timestamp {
        let second = moment.as_second().div_euclid(self.seconds()) * self.seconds();
        Timestamp::from_second(second).unwrap_or(moment)
    }
}

/// A credential and its counts, as it is printed.
#[derive(Debug, Serialize)]
struct UsedRecord {
    id: Id,
    kind: CredentialKind,
    description: String,
    #[serde(serialize_with = "times::serialize")]
    created_at: Timestamp,
    #[serde(serialize_with = "times::serialize")]
    last_used_at: Option<Timestamp>,
    allowed: u64,
    denied: u64,
}

impl From<Used> for UsedRecord {
    fn from(used: Used) -> Self {
        Self {
            id: used.id,
            kind: used.kind,
            description: used.description,
            created_at: used.created_at,
            last_used_at: used.last_used_at,
            allowed: used.counts.allowed,
            denied: used.counts.denied,
        }
    }
}

impl Record for UsedRecord {
    const FIELDS: &'static [&'static str] =
        &["id", "kind", "description", "created_at", "last_used_at", "allowed", "denied"];
    const HEADINGS: &'static [&'static str] =
        &["ID", "KIND", "DESCRIPTION", "CREATED", "LAST USED", "ALLOWED", "DENIED"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        vec![
            self.id.to_string(),
            self.kind.to_string(),
            self.description.clone(),
            style.time(self.created_at),
            style.optional_time(self.last_used_at, "never"),
            self.allowed.to_string(),
            self.denied.to_string(),
        ]
    }
}

/// A credential that was not used, as it is printed, without counts.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct UnusedRecord(UsedRecord);

impl Record for UnusedRecord {
    const FIELDS: &'static [&'static str] = UsedRecord::FIELDS;
    const HEADINGS: &'static [&'static str] = &["ID", "KIND", "DESCRIPTION", "CREATED", "LAST USED"];

    fn cells(&self, style: &CellStyle) -> Vec<String> {
        let mut cells = self.0.cells(style);
        cells.truncate(Self::HEADINGS.len());
        cells
    }
}

/// The counts of a period, as it is printed.
#[derive(Debug, Serialize)]
struct PeriodRecord {
    #[serde(serialize_with = "times::serialize")]
    from: Timestamp,
    allowed: u64,
    denied: u64,
    #[serde(skip)]
    is_day: bool,
    #[serde(skip)]
    bar: String,
}

impl Record for PeriodRecord {
    const FIELDS: &'static [&'static str] = &["from", "allowed", "denied"];
    const HEADINGS: &'static [&'static str] = &["FROM", "ALLOWED", "DENIED", ""];

    fn cells(&self, _: &CellStyle) -> Vec<String> {
        // Not relative on a terminal either, since a chart needs exact times.
        let from = times::exact(self.from);
        let from = if self.is_day { from.split('T').next().unwrap_or_default().to_owned() } else { from };
        vec![from, self.allowed.to_string(), self.denied.to_string(), self.bar.clone()]
    }
}

impl Usage {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        context.with_session(FirstUse::NeedsStore, |session| {
            let now = session.at();
            let since = self.since.as_deref().map(|text| parse_past_time("since", text, now)).transpose()?;
            let all_kept = Timestamp::MIN;
            match (&self.id, self.by) {
                (id, Some(period)) => self.chart(context, session, id.as_deref(), period, since)?,
                (Some(id), None) => {
                    let used = session.usage_of(id, since.unwrap_or(all_kept))?;
                    let format = context.output;
                    output::show(&context.terminal, format, now, &UsedRecord::from(used))?;
                    if format == Format::Table {
                        for period in [Period::Day, Period::Hour] {
                            output::line(&context.terminal, "")?;
                            self.chart(context, session, Some(id), period, since)?;
                        }
                    }
                }
                (None, None) => self.keys(context, session, since.unwrap_or(all_kept))?,
            }
            Ok(Exit::Done)
        })
    }

    fn keys(
        &self,
        context: &Context,
        session: &mut Session<'_, SqliteStore>,
        since: Timestamp,
    ) -> Result<(), Failure> {
        let now = session.at();
        let format = context.output;
        let Some(length) = &self.unused_for else {
            let used = session.most_used(since, self.top)?;
            return output::list(&context.terminal, format, now, |emit| {
                Ok(used.into_iter().map(UsedRecord::from).try_for_each(emit)?)
            });
        };
        let length = parse_duration("unused for", length, now)?;
        let since = now.checked_sub(length).unwrap_or(Timestamp::MIN);
        output::list(&context.terminal, format, now, |emit| {
            Ok(session.unused(since, &mut |used| {
                emit(UnusedRecord(used.into()))?;
                Ok(ControlFlow::Continue(()))
            })?)
        })
    }

    fn chart(
        &self,
        context: &Context,
        session: &mut Session<'_, SqliteStore>,
        id: Option<&str>,
        period: Period,
        since: Option<Timestamp>,
    ) -> Result<(), Failure> {
        let now = session.at();
        let back = |seconds: i64| Timestamp::from_second(now.as_second() - seconds).unwrap_or(now);
        let since = since.unwrap_or_else(|| back(period.usual())).max(back(MOST_DAYS * DAY));
        let first = period.begins(since);
        let hours = session.usage_by_hour(id, first)?;
        let bars = if self.ascii || !locale_is_utf8() { Bars::ASCII } else { Bars::UNICODE };
        let periods = by_period(period, first, now, &hours);
        let most = periods.iter().map(|(_, counts)| counts.total()).max().unwrap_or_default();
        output::list(&context.terminal, context.output, now, |emit| {
            let record = |(from, counts): (Timestamp, Counts)| PeriodRecord {
                from,
                allowed: counts.allowed,
                denied: counts.denied,
                is_day: period == Period::Day,
                bar: bars.draw(counts, most),
            };
            Ok(periods.into_iter().map(record).try_for_each(emit)?)
        })
    }
}

/// Returns every period from the first to now, including those without counts.
fn by_period(
    period: Period,
    first: Timestamp,
    now: Timestamp,
    hours: &BTreeMap<Timestamp, Counts>,
) -> Vec<(Timestamp, Counts)> {
    let mut periods = Vec::new();
    let mut from = first;
    while from <= now {
        let Ok(to) = Timestamp::from_second(from.as_second() + period.seconds()) else { break };
        let mut sum = Counts::default();
        for counts in hours.range(from..to).map(|(_, counts)| counts) {
            sum.allowed = sum.allowed.saturating_add(counts.allowed);
            sum.denied = sum.denied.saturating_add(counts.denied);
        }
        periods.push((from, sum));
        from = to;
    }
    periods
}

/// The characters of bars.
struct Bars {
    allowed: char,
    denied: char,
}

impl Bars {
    const UNICODE: Self = Self { allowed: '█', denied: '░' };
    const ASCII: Self = Self { allowed: '#', denied: '-' };

    /// Draws a bar whose length is its share of the largest count. Every count above zero shows.
    fn draw(&self, counts: Counts, most: u64) -> String {
        let length = |count: u64| {
            let share = u128::from(count) * u128::from(LONGEST_BAR) / u128::from(most.max(1));
            usize::try_from(share).unwrap_or_default().max(usize::from(count > 0))
        };
        let part = |character: char, count: u64| character.to_string().repeat(length(count));
        part(self.allowed, counts.allowed) + &part(self.denied, counts.denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_share_and_what_is_there_at_all_is_seen() {
        let draw = |allowed, denied, most| Bars::ASCII.draw(Counts { allowed, denied }, most);
        assert_eq!(draw(0, 0, 0), "");
        assert_eq!(draw(400, 0, 400), "#".repeat(40));
        assert_eq!(draw(1, 1, 1_000_000), "#-");
        assert_eq!(draw(5, 5, 20), "##########----------");
        assert_eq!(draw(u64::MAX, 0, u64::MAX).len(), 40);
    }

    #[test]
    fn every_period_is_there_and_hours_make_days_of_utc() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let counted = |allowed| Counts { allowed, denied: 1 };
        let hours = BTreeMap::from([
            (at("2026-03-01T00:00:00Z"), counted(1)),
            (at("2026-03-01T23:00:00Z"), counted(2)),
            (at("2026-03-03T00:00:00Z"), counted(4)),
        ]);
        let first = Period::Day.begins(at("2026-03-01T12:34:56Z"));
        let days = by_period(Period::Day, first, at("2026-03-03T00:00:01Z"), &hours);
        let counts: Vec<_> = days.iter().map(|(_, counts)| (counts.allowed, counts.denied)).collect();
        assert_eq!(counts, [(3, 2), (0, 0), (4, 1)]);
        let first = Period::Hour.begins(at("2026-03-01T22:10:00Z"));
        let hours = by_period(Period::Hour, first, at("2026-03-02T00:59:59Z"), &hours);
        assert_eq!(hours.iter().map(|(_, counts)| counts.allowed).collect::<Vec<_>>(), [0, 2, 0]);
    }
}
