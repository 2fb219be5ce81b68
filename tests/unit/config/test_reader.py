"""Configs: what is right is read, what is wrong is all said at once, with the key's path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from onsight.config import FullFlowConfig, read_config
from onsight.errors import ConfigError


@pytest.fixture
def raw(repository: Path) -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((repository / "configs/full_flow_config.yaml").read_text())
    return loaded


@pytest.fixture
def config_file(tmp_path: Path, raw: dict[str, object]) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def problems_of(path: Path, *changes: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_config(path, changes)
    problems = caught.value.context["problems"]
    assert isinstance(problems, list)
    assert all(problem in str(caught.value) for problem in problems)
    return problems


def test_every_shipped_config_is_right(repository: Path) -> None:
    shipped = sorted((repository / "configs").glob("*_config.yaml"))
    assert len(shipped) >= 5
    modules = {read_config(path).flow_module for path in shipped}
    assert {f"flows.{name}_flow" for name in ("full", "train", "eval", "deploy", "monitor")} <= modules


def test_read_config_when_json_then_equals_yaml(tmp_path: Path, raw: dict[str, object], config_file: Path) -> None:
    as_json = tmp_path / "config.json"
    as_json.write_text(json.dumps(raw))
    assert read_config(as_json) == read_config(config_file)


def test_read_config_when_changed_on_the_command_line_then_the_change_wins(config_file: Path) -> None:
    config = read_config(
        config_file, ["train.hparams.epochs=11", "model.classes=[a, b, c]", "validation.deepchecks_suite='off'"]
    )
    assert isinstance(config, FullFlowConfig)
    assert config.train.hparams.epochs == 11
    assert config.model.classes == ("a", "b", "c")
    assert config.validation.deepchecks_suite == "off"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("model.architectur=resnet50", "model.architectur: unknown key, did you mean architecture?"),
        (
            "nonsense=1",
            "nonsense: unknown key; known: dataset, deploy, evaluate, flow_module, model, train, validation",
        ),
        ("train.hparams.epochs=many", "train.hparams.epochs: Input should be a valid integer"),
        ("train.hparams.epochs=0", "train.hparams.epochs: Input should be greater than or equal to 1 (given: 0)"),
        ("model.classes=[a]", "model.classes: Tuple should have at least 2 items"),
        ("model.classes=[a, a]", "model.classes: a class stands twice: a"),
        ("model.model_name=../x", "model.model_name: String should match pattern"),
        ("model.classifier_type=multi-label", "model.classifier_activation: classifier_type multi-label needs sigmoid"),
        ("model.architecture=small_cnn", "model.weights: bundled weights exist for efficientnet_lite0 alone"),
        (
            "model.drift_detection.bbsd_layer=other",
            "model.drift_detection: bbsd_layer must be the classification layer",
        ),
        ("train.hparams.freeze_epochs=5000", "train.hparams.freeze_epochs: is larger than epochs"),
        ("train.augmentation=[{name: Fliplr}, {name: Flop}]", "train.augmentation.1.name: Input should be 'Fliplr'"),
        ("flow_module=flows.none", "flow_module: must be one of flows.deploy_flow, flows.eval_flow"),
        ("deploy.service_url=localhost", "deploy.service_url: Input should be a valid URL"),
        ("model.weights=imagenet", "model.weights: imagenet weights do not exist for efficientnet_lite0"),
        ("dataset.dvc_tag.x=1", "--set dataset.dvc_tag.x: dvc_tag holds a value, not a section"),
        ("epochs", "--set epochs: write it as key.path=value"),
        ("a=[1", "--set a: the value '[1' is no valid YAML"),
    ],
)
def test_read_config_when_a_key_is_wrong_then_says_where(config_file: Path, change: str, problem: str) -> None:
    problems = problems_of(config_file, change)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_read_config_when_much_is_wrong_then_says_all_at_once(config_file: Path) -> None:
    problems = problems_of(
        config_file, "model.input_size.h=x", "model.weight=none", "train.hparams.init_lr=fast", "dataset.dvc_tag=null"
    )
    assert [problem.split(":")[0] for problem in problems] == [
        "model.input_size.h", "model.weight", "dataset.dvc_tag", "train.hparams.init_lr",
    ]  # fmt: skip


def test_read_config_when_a_section_is_missing_then_names_it(tmp_path: Path, raw: dict[str, object]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump({key: raw[key] for key in raw if key not in ("model", "flow_module")}))
    names = ("deploy", "eval", "full", "monitor", "retention", "retrain", "review", "train")
    flows = ", ".join(f"flows.{name}_flow" for name in names)
    assert problems_of(path) == [f"flow_module: must be one of {flows}"]
    path.write_text(yaml.safe_dump({key: raw[key] for key in raw if key != "model"}))
    assert problems_of(path) == ["model: is missing"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.toml", "", "a config is a .yaml, .yml or .json file"),
        ("config.yaml", "a: [1", "not valid YAML"),
        ("config.yaml", "a: 1\na: 2", "the key 'a' stands twice"),
        ("config.json", "{", "not valid JSON"),
        ("config.yaml", "- 1", "holds no mapping"),
    ],
)
def test_read_config_when_the_file_is_wrong_then_says_so(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_read_config_when_the_file_is_missing_or_binary_then_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "binary.yaml")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("review.shares.drifted=0.9", "review.shares.uncertain: the shares add up to 1.5, not to 1"),
        ("review.shares.drifted=2", "review.shares.drifted: Input should be less than or equal to 1"),
        ("review.budget=0", "review.budget: Input should be greater than or equal to 1"),
    ],
)
def test_read_config_when_the_review_section_is_wrong_then_says_so(repository: Path, change: str, problem: str) -> None:
    found = problems_of(repository / "configs/review_flow_config.yaml", change)

    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    ("every_h", "hours", "weekdays", "is_right"),
    [
        ("24", "[20, 6]", "[mon]", True),
        ("24", "[9, 17]", "[mon]", False),
        ("12", "[9, 17]", "[mon]", True),
        ("12", "[13, 17]", "[mon]", False),
        ("168", "[0, 1]", "[thu]", True),  # 1970 began on a Thursday
        ("168", "[0, 1]", "[fri]", False),
        ("720", "[0, 1]", "[fri]", True),  # thirty days: another weekday each time
        ("2", "[21, 22]", "[sun]", False),
        ("2.5", "[21, 22]", "[sun]", True),
        ("1", "[21, 22]", "[sun]", True),
        ("0.1", "[21, 22]", "[sun]", True),
    ],
)
def test_read_config_when_the_policy_would_never_be_asked_in_time_then_says_so(
    repository: Path, every_h: str, hours: str, weekdays: str, is_right: bool
) -> None:
    changes = (
        f"schedule.every_h={every_h}",
        f"retraining.allowed_hours={hours}",
        f"retraining.allowed_weekdays={weekdays}",
    )
    path = repository / "configs/retrain_flow_config.yaml"
    if is_right:
        read_config(path, changes)
        return
    wanted = f"schedule: every_h: {every_h} h, counted from 1970-01-01 00:00 UTC, are never in retraining.allowed_hours"
    assert problems_of(path, *changes)[0].startswith(wanted)
