"""The `export` section: what the exported model must satisfy."""

from pydantic import Field

from pipeline.section import Section


class ExportParams(Section):
    """When an export is good enough to be written."""

    max_difference: float = Field(
        default=1e-4,
        gt=0,
        description="largest absolute difference of a logit between torch and ONNX Runtime"
        " that is accepted",
    )
