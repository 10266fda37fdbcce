//! Which member takes a message: pure.

use crate::store::Spread;

/// A member that could take a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The agent's number.
    pub(super) member: i64,
    /// Its place in the group.
    pub(super) place: usize,
    /// How well it fits; more is better.
    pub(super) fit: u8,
}

/// What decides.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) spread: Spread,
    /// The member that has something of the same sender under way.
    pub(super) bound_to: Option<i64>,
    /// The place of the member picked before.
    pub(super) last: Option<usize>,
}

impl Choice {
    /// Picks one of these, each with what it has under way; they stand in the group's order.
    pub(super) fn of(&self, well: &[(Candidate, usize)]) -> Option<Candidate> {
        let bound = well.iter().find(|(it, _)| Some(it.member) == self.bound_to);
        if let Some((it, _)) = bound {
            return Some(*it);
        }
        // In the order of turns; the first of equal ones is taken.
        let is_next = |(it, _): &&(Candidate, usize)| self.last.is_none_or(|last| it.place > last);
        let later = well.iter().filter(|it| !is_next(it));
        let turns = well.iter().filter(is_next).chain(later);
        let picked = match self.spread {
            Spread::RoundRobin => { turns }.next(),
            Spread::LeastOutstanding => turns.min_by_key(|(_, under_way)| *under_way),
            Spread::Capability => {
                turns.min_by_key(|(it, under_way)| (u8::MAX - it.fit, *under_way))
            }
        };
        picked.map(|(it, _)| *it)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well(members: &[(i64, u8, usize)]) -> Vec<(Candidate, usize)> {
        let candidate = |member: i64, fit| Candidate {
            member,
            place: usize::try_from(member).unwrap(),
            fit,
        };
        let members = members.iter();
        members
            .map(|(member, fit, under_way)| (candidate(*member, *fit), *under_way))
            .collect()
    }

    #[test]
    fn a_member_is_picked_as_the_group_is_set() {
        use Spread::{Capability, LeastOutstanding, RoundRobin};
        let all = &[(1, 0, 4), (2, 1, 3), (3, 0, 3), (4, 1, 9)][..];
        for (spread, bound_to, last, among, picked) in [
            (RoundRobin, None, None, all, Some(1)),
            (RoundRobin, None, Some(1), all, Some(2)),
            (RoundRobin, None, Some(4), all, Some(1)),
            (RoundRobin, None, Some(99), all, Some(1)),
            (RoundRobin, None, Some(2), &all[2..], Some(3)),
            (RoundRobin, None, Some(1), &all[2..], Some(3)),
            (RoundRobin, Some(3), Some(1), all, Some(3)),
            (RoundRobin, Some(3), Some(1), &all[..2], Some(2)),
            (LeastOutstanding, None, None, all, Some(2)),
            (LeastOutstanding, None, Some(2), all, Some(3)),
            (LeastOutstanding, Some(4), Some(2), all, Some(4)),
            (Capability, None, None, all, Some(2)),
            (Capability, None, None, &all[3..], Some(4)),
            (Capability, None, None, &[], None),
        ] {
            let choice = Choice {
                spread,
                bound_to,
                last,
            };
            let found = choice.of(&well(among)).map(|it| it.member);
            assert_eq!(found, picked, "{choice:?}");
        }
    }
}
