//! Adds the books up while the process runs: what the last lines of a run would tell of a defect is told when it
//! happens. The number of accounts that do not add up is the gauge `logweir_ledger_discrepancies`, which each scrape
//! finds for itself.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::Ledger;
use crate::seldom::Seldom;

/// Between two looks: an addition of a few numbers under the ledger's lock.
const EVERY: Duration = Duration::from_secs(10);

/// Looks at the books until it is dropped.
pub(super) async fn audit(ledger: Arc<Ledger>) {
    let told = Seldom::default();
    loop {
        tokio::time::sleep(EVERY).await;
        look(&ledger, &told);
    }
}

/// Says what does not add up, at most once a minute; whether it was said.
fn look(ledger: &Ledger, told: &Seldom) -> bool {
    let wrong = ledger.books().discrepancies();
    if wrong.is_empty() || told.line().is_none() {
        return false;
    }
    tracing::error!("the ledger does not add up, please report this bug: {}", wrong.join("; "));
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::Count;

    #[tokio::test(start_paused = true)]
    async fn books_that_do_not_add_up_are_told_at_once_and_then_once_a_minute() {
        let ledger = Ledger::new(["forward"], ["rest"], ["archive"]);
        let told = Seldom::default();
        assert!(!look(&ledger, &told));
        ledger.books().sinks[0].accepted += Count { records: 1, bytes: 1 };
        let mut looks = Vec::new();
        for _ in 0..7 {
            looks.push(look(&ledger, &told));
            tokio::time::advance(EVERY).await;
        }
        assert_eq!(looks, [true, false, false, false, false, false, true]);
    }
}
