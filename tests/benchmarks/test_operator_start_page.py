"""The page of inversions from an operator's answer: medians by family, and who has a third of the error left."""

from benchmarks.operator_start_page import MODELS, tables


def row(family: str, operator: float, after: float) -> dict:
    maes = dict(zip(MODELS, (200.0, 100.0, operator, after), strict=True))
    return {"family": family} | {which: {"mae": mae, "error": mae / 3000, "ssim": 0.5} for which, mae in maes.items()}


def test_ratios_are_of_each_model_and_a_third_is_met():
    text = tables([row("flat_vel_a", 300.0, 90.0), row("flat_vel_a", 100.0, 30.0), row("style_b", 400.0, 200.0)])
    assert "| flat_vel_a | 2 | 200 | 100 | 200 | 60 | 0.50 | 0.30 |" in text
    assert "| style_b | 1 | 200 | 100 | 400 | 200 | 0.50 | 0.50 |" in text
    assert "| all | 3 | 200 | 100 | 300 | 90 | 0.50 | 0.30 |" in text
    assert text.endswith("Families with a third or less left: flat_vel_a.\n")
