"""The hosts' side: what each believes of its lease, when it contacts its manager, what it obeys.

An agent has a table of one, a rehearsal one of a million; it is the same code. Times are the host's own monotonic
seconds. A host counts a lease from when it *sent* the contact that the grant answers; a grant that answers neither its
last nor its last but one contact is stale. It obeys the greatest epoch that it has seen, and holds the greatest
generation.

`next_s` is when a host has something to do by itself; whatever changes it says so by returning the ids.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from evenkeel.fleet.arrays import Columns, Durations, Flags, Generations, Ids, Replies, ReplyKind, Seconds, no_ids
from evenkeel.model.fleet_policy import FleetPolicy, Retry

NEVER_S = np.inf
_TRIES_MAX = 30
FIRST_POLL_SHARE = 0.1  # of the poll floor, at least, before a contact is sent again for the first time


class HostTable(Columns):
    """Hosts 0 to `size - 1`, up, without a lease, each with its first contact to make at once."""

    _COLUMNS: ClassVar[dict[str, type]] = {
        "is_up": np.bool_,
        "waits": np.bool_,
        "tries": np.uint8,
        "epoch": np.int32,
        "poll_s": np.float32,
        "phase_s": np.float32,
        "generation": np.int64,
        "sequence": np.int64,
        "sent_s": np.float64,
        "sent_before_s": np.float64,
        "ends_s": np.float64,
        "next_s": np.float64,
    }
    is_up: Flags
    waits: Flags  # its last contact is not answered yet
    tries: np.ndarray
    epoch: np.ndarray
    poll_s: Durations
    phase_s: Durations
    generation: Generations
    sequence: Generations
    sent_s: Seconds
    sent_before_s: Seconds
    ends_s: Seconds
    next_s: Seconds

    def __init__(self, size: int, policy: FleetPolicy, rng: np.random.Generator) -> None:
        self.policy, self._rng = policy, rng
        self._resize(size)
        self.is_up[:] = True
        self.poll_s[:] = policy.poll_max_s
        self.phase_s[:] = policy.poll_max_s * rng.random(size)
        self.sent_s[:] = self.sent_before_s[:] = self.ends_s[:] = -NEVER_S

    def __len__(self) -> int:
        return len(self.is_up)

    @property
    def octets(self) -> int:
        return self.row_octets

    def holds(self, ids: Ids, now_s: float) -> Flags:
        """Whether each holds a lease, by its own clock; without one it runs nothing."""
        held: Flags = self.is_up[ids] & (self.ends_s[ids] > now_s)
        return held

    def count_held(self, now_s: float) -> int:
        return int(np.count_nonzero(self.ends_s > now_s))

    # --- contacts out -----------------------------------------------------------------------------------------

    def due(self, ids: Ids, now_s: float) -> Ids:
        """Those of `ids` whose time has come."""
        come: Ids = ids[self.is_up[ids] & (self.next_s[ids] <= now_s)]
        return come

    def contact(self, ids: Ids, now_s: float) -> None:
        """Each sends a contact now, with its `generation`, `epoch` and new `sequence`."""
        rows = self._taken(ids)
        rows["sequence"] += 1
        rows["sent_before_s"] = rows["sent_s"]
        rows["sent_s"] = now_s
        rows["tries"] = np.minimum(rows["tries"] + 1, _TRIES_MAX)
        rows["waits"] = True
        rows["next_s"] = now_s + self._again_after_s(rows)
        self._give_back(ids, rows)

    def _again_after_s(self, rows: np.ndarray) -> Seconds:
        """Until a contact that stays unanswered is sent again."""
        policy, tries, draws = self.policy, rows["tries"], self._rng.random(len(rows))
        if policy.retry is Retry.AS_TOLD:
            polls = rows["poll_s"].astype(np.float64)
            first = np.maximum(rows["phase_s"], FIRST_POLL_SHARE * polls)
            return np.where(tries <= 1, first, polls * (0.9 + 0.2 * draws))
        if policy.retry is Retry.FULL_JITTER:
            cap_s = np.minimum(policy.jitter_cap_s, policy.jitter_base_s * 2.0**tries)
            return policy.request_timeout_s + cap_s * draws
        return policy.request_timeout_s * (1.0 + 0.04 * draws)

    # --- what managers say ------------------------------------------------------------------------------------

    def obey(self, part: Replies, kind: ReplyKind, epoch: int, now_s: float) -> Ids:
        """Replies of one kind by the manager of `epoch` arrive: which hosts took them."""
        if kind is ReplyKind.GRANT:
            return self.granted(
                part.ids,
                epoch,
                part.generations,
                part.answers,
                part.terms_s,
                part.nexts_s,
                part.polls_s,
                part.phases_s,
                now_s,
            )
        if kind is ReplyKind.WAIT:
            return self.told_to_wait(part.ids, epoch, part.answers, part.nexts_s, now_s)
        if kind is ReplyKind.REFUSED:
            return self.refused(part.ids, part.answers, now_s)
        return no_ids()

    def called(self, ids: Ids, epoch: int, now_s: float) -> Ids:
        """Those that answer a call of a manager in `epoch`, which they do by a contact, at once."""
        ids = ids[self.is_up[ids] & (self.epoch[ids] <= epoch)]
        self.epoch[ids] = epoch
        self.contact(ids, now_s)
        return ids

    def told_to_wait(self, ids: Ids, epoch: int, answers: Generations, after_s: Durations, now_s: float) -> Ids:
        """They contact again in `after_s`; one that has contacted again since goes by the answer to that."""
        obeys = self.is_up[ids] & (self.epoch[ids] <= epoch) & (self.sequence[ids] == answers) & self.waits[ids]
        ids = ids[obeys]
        self.epoch[ids] = epoch
        self.waits[ids] = False
        self.next_s[ids] = now_s + after_s[obeys]
        return ids

    def refused(self, ids: Ids, answers: Generations, now_s: float) -> Ids:
        """Their attempt came to nothing, and they know it: they try again as their policy says."""
        ids = ids[self.is_up[ids] & (self.sequence[ids] == answers) & self.waits[ids]]
        self.waits[ids] = False
        again_s = self._again_after_s(self._taken(ids)) - self.policy.request_timeout_s
        self.next_s[ids] = now_s + np.maximum(again_s, self.policy.jitter_base_s)
        return ids

    def granted(
        self,
        ids: Ids,
        epoch: int,
        generations: Generations,
        answers: Generations,
        terms_s: Durations,
        nexts_s: Durations,
        polls_s: Durations,
        phases_s: Durations,
        now_s: float,
    ) -> Ids:
        """Take the leases, where they are not stale: which hosts did. `answers` are sequences of contacts."""
        rows, is_told = self._taken(ids), self.policy.retry is Retry.AS_TOLD
        behind = rows["sequence"] - answers
        taken = rows["is_up"] & (rows["epoch"] <= epoch) & (generations >= rows["generation"])
        taken &= (behind >= 0) & (behind <= (1 if is_told else 0))
        sent_s = np.where(behind == 0, rows["sent_s"], rows["sent_before_s"])
        if not is_told:
            taken &= rows["waits"] & (now_s <= sent_s + self.policy.request_timeout_s)
        if not taken.all():
            ids, sent_s, rows = ids[taken], sent_s[taken], rows[taken]
            generations, terms_s, nexts_s = generations[taken], terms_s[taken], nexts_s[taken]
            polls_s, phases_s = polls_s[taken], phases_s[taken]
        # The same lease never gets shorter: its manager keeps it for as long as it ever said.
        before_s = np.where(generations == rows["generation"], rows["ends_s"], -NEVER_S)
        rows["epoch"] = epoch
        rows["generation"] = generations
        rows["ends_s"] = np.maximum(sent_s + terms_s, before_s)
        rows["poll_s"], rows["phase_s"] = polls_s, phases_s
        rows["waits"] = False
        rows["tries"] = 0
        rows["next_s"] = np.maximum(sent_s + nexts_s, now_s)
        self._give_back(ids, rows)
        return ids

    # --- what happens to hosts --------------------------------------------------------------------------------

    def stop(self, ids: Ids) -> None:
        """They are down; what they believed is gone, but for what their disks keep: sequence and epoch."""
        self.is_up[ids] = False
        self.waits[ids] = False
        self.generation[ids] = 0
        self.ends_s[ids] = -NEVER_S
        self.next_s[ids] = NEVER_S

    def start(self, ids: Ids, now_s: float) -> None:
        """They are up again, and say so at once."""
        self.is_up[ids] = True
        self.tries[ids] = 0
        self.next_s[ids] = now_s

    def lose(self, ids: Ids, now_s: float) -> Ids:
        """Their leases have run out: they contact at once, unless they have a contact out already."""
        ids = ids[self.is_up[ids] & (self.ends_s[ids] <= now_s)]
        silent = ids[~self.waits[ids]]
        self.next_s[silent] = np.minimum(self.next_s[silent], now_s)
        return silent
