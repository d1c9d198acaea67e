"""What the steps of one run share, and the steps: measure and search, attempt a plan, look ahead."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from onnxshallow.errors import TargetError
from onnxshallow.runtime.progress import Clock, Progress
from onnxshallow.search.attempt import Attempt, carry_out, judged, tidied
from onnxshallow.search.compete import LookedAt, search
from onnxshallow.search.frontier import expected_frontier
from onnxshallow.search.inputs import Inputs, Observation, observe
from onnxshallow.search.plan import Plan
from onnxshallow.search.planner import Planner
from onnxshallow.search.sensitivity.cache import cache_path
from onnxshallow.search.sensitivity.meter import DamageMeter
from onnxshallow.search.solver import Budget
from onnxshallow.search.watched import with_watched
from onnxshallow.validation.compare import Runner
from onnxshallow.validation.seen import Seen, constant_samples

__all__ = ["Run"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Run:
    """What the steps of one run share.

    Attributes:
        inputs: model, data and options.
        observation: what the original does with the data.
        progress: shows how it goes.
        clock: seconds by stage.
        cache_folder: where damages are kept, or None.
        competed: the plans that competed so far.
    """

    inputs: Inputs
    observation: Observation
    progress: Progress
    clock: Clock
    cache_folder: Path | None = None
    competed: list[Plan] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        inputs: Inputs,
        progress: Progress,
        clock: Clock,
        cache: Path | bool | None = None,
        plan: Plan | None = None,
    ) -> "Run":
        """Run the original on the calibration samples; what follows goes by what it does.

        Args:
            inputs: model, data and options.
            progress: shows how it goes.
            clock: seconds by stage.
            cache: folder for measured damages; True for the user's, False or None for none.
            plan: what is to be done, where that is known; else what the options allow.

        Raises:
            ModelError: onnxruntime fails on the model, or it computes values that are not finite.
        """
        for finding in constant_samples(inputs.fitted or Seen(), inputs.data.fit.source):
            if finding.refuses:  # the verdict will say so; whoever reads it now need not wait for that
                logger.warning(finding.text)
        with clock("observe"):
            if inputs.config.squares or (plan is not None and any(c.squares for c in plan.candidates)):
                inputs = with_watched(inputs, progress)
            observation = observe(inputs, progress, plan)
        return cls(inputs, observation, progress, clock, cache_path(cache))

    @cached_property
    def meter(self) -> DamageMeter:
        """Measures what candidates cost, when it is asked for."""
        return DamageMeter(self.inputs, self.observation, self.progress, self.cache_folder)

    @cached_property
    def looked(self) -> LookedAt:
        """What plans do that were looked at, in this run and in earlier ones."""
        return LookedAt.of(self.inputs, self.cache_folder)

    def proposal(self, budget: Budget) -> Plan:
        """The plan of least predicted damage, not carried out.

        Raises:
            TargetError: no plan reaches the budget; says what can be reached.
        """
        with self.clock("sensitivity"):
            (measured,) = self.meter.measure_for([budget])
        with self.clock("plan"):
            planner = Planner(self.inputs.analysis, measured.candidates, measured.damages, budget)
            return next(planner.proposals())

    def search(
        self, budgets: Sequence[Budget], tries: int, beside: Sequence[Plan] = ()
    ) -> list[list[Plan] | TargetError]:
        """The plans that were carried out in a cheap way for each budget; see `onnxshallow.search.compete`."""
        with self.clock("sensitivity"):
            measured = self.meter.measure_for(budgets)
        with self.clock("plan"):
            inputs, progress = self.inputs, self.progress
            found = search(inputs, self.observation, measured, budgets, progress, tries, beside, self.looked)
        self.competed.extend(plan for plans in found if not isinstance(plans, TargetError) for plan in plans)
        return found

    def frontier(self) -> list[Plan]:
        """What other ReLU counts would cost, to be expected from what was measured; nothing where nothing was."""
        if self.inputs.config.sensitivity == "magnitude" or self.inputs.config.allocation != "measured":
            return []
        measured, inputs = self.meter.measured, self.inputs
        with self.clock("plan"):
            return expected_frontier(
                inputs.analysis, measured.candidates, measured.damages, self.competed, inputs.budget
            )

    def attempt(self, plan: Plan, original: Runner | None = None) -> Attempt:
        """Carry out a plan and compare the result with the original.

        Args:
            plan: the plan.
            original: what runs the original, if it is not to be loaded anew.
        """
        with self.clock("fit"):
            realized, stability = carry_out(self.inputs, self.observation, plan, self.progress)
            realized = tidied(self.inputs, realized)
        with self.clock("validate"):
            return judged(self.inputs, plan, realized, stability, self.progress, original)
