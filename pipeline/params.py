"""All of `params.yaml`: every section, and the checks between sections."""

from os.path import normpath
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from pipeline.alternating.params import SearchParams
from pipeline.batches.params import AugmentationParams
from pipeline.costing.cost import least
from pipeline.data.params import ARTIFACTS, DataParams
from pipeline.exporting.params import ExportParams
from pipeline.growing.params import GrowthParams
from pipeline.harness.section import Section, Seed
from pipeline.optimizing.params import OptimizeParams
from pipeline.referencing.params import ReferenceParams
from pipeline.space.blueprint import plan
from pipeline.space.params import NetworkParams
from pipeline.space.registry import SPACES
from pipeline.targeting.params import TargetParams, refusal
from pipeline.training.params import TrainingParams
from pipeline.warming.params import WarmupParams


class Params(Section):
    """Everything that changes a result; settings of machines are environment variables."""

    seed: Seed = Field(
        default=42, description="source of every random draw: splits, weights, paths, order"
    )
    data: DataParams = DataParams()
    augmentation: AugmentationParams = AugmentationParams()
    network: NetworkParams = NetworkParams()
    training: TrainingParams = TrainingParams()
    target: TargetParams = TargetParams()
    warmup: WarmupParams = WarmupParams()
    search: SearchParams = SearchParams()
    growth: GrowthParams = GrowthParams()
    optimize: OptimizeParams = OptimizeParams()
    reference: ReferenceParams = ReferenceParams()
    export: ExportParams = ExportParams()

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.growth.max_cells < self.network.cells:
            raise ValueError(
                f"growth.max_cells: {self.growth.max_cells} is below"
                f" network.cells {self.network.cells}"
            )
        if self.growth.max_channels < self.network.channels:
            raise ValueError(
                f"growth.max_channels: {self.growth.max_channels} is below"
                f" network.channels {self.network.channels}"
            )
        if "node" in self.growth.kinds:
            self._check_nodes()
        if self.augmentation.crop_padding >= self.data.image_size:
            raise ValueError(
                f"augmentation.crop_padding: {self.augmentation.crop_padding} pixels of padding"
                f" on images of {self.data.image_size}"
            )
        if self.data.stored_size is not None and self.augmentation.zoom == 1:
            raise ValueError(
                "data.stored_size: larger images are only of use if augmentation.zoom cuts parts"
                " from them; expected null, or a zoom below 1"
            )
        if self.augmentation.cutout >= self.data.image_size:
            raise ValueError(
                f"augmentation.cutout: a square of {self.augmentation.cutout} pixels leaves nothing"
                f" of images of {self.data.image_size}; expected less, or 0 for none"
            )
        if self.training.auxiliary_skip and SPACES[self.network.space].adds_input:
            raise ValueError(
                f"training.auxiliary_skip: expected 0 in {self.network.space}, whose layers have a"
                " skip connection each"
            )
        teacher = self.optimize.teacher
        if teacher is not None and Path(normpath(Path.cwd() / teacher)).is_relative_to(
            Path.cwd() / ARTIFACTS
        ):
            raise ValueError(
                f"optimize.teacher: expected a copy outside {ARTIFACTS}/, whose files a run"
                f" replaces, got {teacher!r}"
            )
        self._check_target()
        published = SPACES[self.network.space].edges_per_node
        chosen = (self.network.max_skips, self.network.edges_per_node)
        if self.search.finalists and chosen != (None, published):
            raise ValueError(
                "search.finalists: finalists keep what the search space says; expected"
                f" network.max_skips null and network.edges_per_node {published}, or 0 finalists"
            )
        return self

    def _check_nodes(self) -> None:
        """Raise ValueError if no cell of the network can get a node more."""
        if "nodes" in SPACES[self.network.space].fixed:
            raise ValueError(
                f"growth.kinds: the cells of {self.network.space} have {self.network.nodes} nodes"
                " each; expected no node among the kinds"
            )
        if self.growth.max_nodes < self.network.nodes:
            raise ValueError(
                f"growth.max_nodes: {self.growth.max_nodes} is below"
                f" network.nodes {self.network.nodes}"
            )

    def _check_target(self) -> None:
        """Raise ValueError if even the cheapest network of two classes and grey images is dear."""
        side = self.data.image_size
        blueprint = plan(self.network, image_channels=1, classes=2, image_size=side)
        for name, limit in self.target.limits.items():
            edges = self.network.edges_per_node
            smallest = least(blueprint, (side, side), name, edges_per_node=edges)
            if smallest > limit:
                raise ValueError(refusal(name, limit, smallest))
