//! Choosing among the instances of one release where some are passed over or have less than a whole share.
//!
//! The shares of releases and of nodes are settled before, so they stay as they are: an instance that is the only one
//! of its release here gets all that comes for it.

use std::sync::Arc;

use super::{Tried, less_busy};
use crate::count::STRIDE;
use crate::standing::{Use, WHOLE};
use crate::table::Instance;

/// Of `candidates`, those of `all` instances that did not refuse a connection a moment ago.
///
/// At least half of all are left to choose from, however many failed: fewer would have to bear too much. Where all
/// failed none is passed over: then it may well be what they are asked that fails.
pub(super) fn choose<'t>(
    mut candidates: Vec<&'t Arc<Instance>>,
    all: usize,
    turn: usize,
    tried: &Tried,
) -> Option<&'t Arc<Instance>> {
    let now = candidates.first()?.uptime.now();
    if tried.nothing()
        && let Some(due) = candidates.iter().find(|instance| instance.standing.try_out(now))
    {
        return Some(due);
    }
    let share = |instance: &Instance| match instance.standing.of(now) {
        Use::Share(share) => Some(share),
        Use::Due | Use::Out => None,
    };
    if candidates.iter().any(|instance| share(instance).is_some()) {
        let mut spare = (all / 2).saturating_sub(all - candidates.len());
        candidates.retain(|instance| {
            let kept = spare == 0 || share(instance).is_some();
            spare -= usize::from(!kept);
            kept
        });
    }
    // One with a tenth of a share takes part in one of ten turns.
    let point = (turn as u64).wrapping_mul(STRIDE) >> 32;
    let takes_part =
        |instance: &Instance| point * u64::from(WHOLE) < u64::from(share(instance).unwrap_or(WHOLE)) << 32;
    if candidates.iter().any(|instance| takes_part(instance)) {
        candidates.retain(|instance| takes_part(instance));
    }
    let n = candidates.len();
    Some(less_busy(candidates.get(turn % n)?, candidates.get((turn + 1) % n)?))
}
