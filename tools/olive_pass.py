"""onnxshallow as a pass of Olive: an ONNX model comes in, a shallower one goes out.

    "passes": {"shallow": {"type": "OnnxShallow", "target_relus": 0.58, "calib": "calibration.npz", "max_drop": 0.01}}

Olive is not needed by anything else here. Written against olive-ai 0.13; `docs/how-to/olive.md` says how to use it.
"""

from pathlib import Path
from typing import Any

from olive.hardware import AcceleratorSpec
from olive.model import ONNXModelHandler
from olive.passes import Pass
from olive.passes.pass_config import BasePassConfig, PassConfigParam

__all__ = ["NotShallowError", "OnnxShallow"]

# Options of onnxshallow that a workflow can set, and what JSON may say of each.
_KINDS: dict[str, Any] = {
    "target_relus": float | str,
    "target_macs": float | str,
    "target_depth": float | str,
    "max_drop": float,
    "calib": str,
    "calib_samples": int,
    "validate_data": str,
    "seed": int,
}


class NotShallowError(ValueError):
    """No model was made, or it must not be used.

    Olive logs most errors of a pass and goes on, so that `olive run` ends with 0; a `ValueError` ends it.
    """


class OnnxShallow(Pass):
    """Removes the ReLUs that matter least, fuses convolutions, and fits what is left; no training, no labels."""

    @classmethod
    def _default_config(cls, accelerator_spec: AcceleratorSpec) -> dict[str, PassConfigParam]:
        """The options, none of which has to be given."""
        from onnxshallow.options.schema import OPTIONS

        texts = {option.name: option.flag.text for option in OPTIONS}
        options = {name: (kind, texts[name]) for name, kind in _KINDS.items()}
        options["config_file"] = (str, "An onnxshallow.toml with these and all other options.")
        return {
            name: PassConfigParam(type_=kind, default_value=None, description=text)
            for name, (kind, text) in options.items()
        }

    def _run_for_config(
        self, model: ONNXModelHandler, config: type[BasePassConfig], output_model_path: str
    ) -> ONNXModelHandler:
        """Write the shallower model, and the report beside it.

        Raises:
            NotShallowError: the target or the accuracy budget cannot be met, or model or data cannot be used; nothing
                is written, and the workflow ends.
        """
        import onnxshallow
        from onnxshallow.options.config import resolve

        given = {name: getattr(config, name) for name in _KINDS}
        source = Path(model.model_path)
        settings = Path(config.config_file) if config.config_file is not None else None
        target = Path(output_model_path)
        # Olive names a folder where it leaves the name of the file to the pass.
        target = target if target.suffix == ".onnx" else target / "model.onnx"
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            result = onnxshallow.optimize(source, config=resolve(given, source, settings))
            result.save(target)
        except onnxshallow.OnnxshallowError as error:
            raise NotShallowError(str(error)) from error
        result.save_report(target.with_suffix(".json"))
        return ONNXModelHandler(str(target))
