"""The tables of docs/pixels.md."""

from __future__ import annotations

from typing import Any

from tables import duration, heading, line, source


def dots_table(result: dict[str, Any]) -> str:
    """How well dots are followed."""
    lines = heading("dot", "median", "95 %", "visible", "lost of those", "more than 5 px off", "reported though hidden")
    for row in result["rows"]:
        shares = [f"{100 * row[name]:.3g} %" for name in ("visible", "lost", "wrong", "invented")]
        lines.append(line(row["dot"], f"{row['median [px]']:.2f} px", f"{row['95 % [px]']:.2f} px", *shares))
    speed = result["speed"]
    note = f"{result['episodes']} episodes, {speed['pictures']:,} pictures."
    if speed["pictures a second"]:
        note += (
            f" {speed['pictures a second']:.0f} pictures a second on one core, decoding included:"
            f" {speed['of the time of the video']:.2f} of the time that the video of both cameras lasts, at"
            f" {speed['peak memory [MB]']:.0f} MB."
        )
    return "\n".join([*lines, "", f"{note} {source(result)}"])


SHORT = {
    "MLP on the middle of the dots": "MLP, told the middle of the dots",
    "MLP on all dots": "MLP, told all dots",
    "MLP on all dots, refined": "MLP, refined on the pixels",
    "MeanFlow on all dots": "MeanFlow, told all dots",
    "MeanFlow on all dots, refined, best of 16": "MeanFlow, refined, the best of 16",
    "refined, best of 16 random starts": "random starts, refined, the best of 16",
}


def short_table(result: dict[str, Any]) -> str:
    """The tip's errors in short."""
    rows = {row["way"]: row for row in result["rows"]}
    lines = heading("joints from", "tip, median", "95 %")
    for way, words in SHORT.items():
        tip = rows[way]["tip [mm]"]["between_dots"]
        lines.append(line(words, f"{tip['median']:.2f} mm", f"{tip['p95']:.2f} mm"))
    held = result["held out"]
    note = f"{held['frames']:,} frames of {len(held['episodes'])} episodes that nothing was learned from."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


def ways_table(result: dict[str, Any]) -> str:
    """Errors of the tip, for every way to joints."""
    lines = heading("joints from", "tip, median", "95 %", "end of the jaw, median", "95 %", "answered", "a frame")
    for row in result["rows"]:
        cells = [f"{row['tip [mm]'][tip][share]:.2f} mm" for tip in row["tip [mm]"] for share in ("median", "p95")]
        lines.append(line(row["way"], *cells, f"{100 * row['answered']:.1f} %", duration(1e-3 * row["ms a frame"])))
    held, rig = result["held out"], result["rig"]
    note = (
        f"{held['frames']:,} frames of {len(held['episodes'])} episodes, of {result['frames']:,} frames; all dots were "
        f"followed in {100 * held['with all dots']:.1f} % of them. The cameras, calibrated on the other episodes, "
        f"explain their pixels to {rig['pixel error [px]']:.2f} px (median)."
    )
    seeds = "; ".join(
        f"{row['network']}: {', '.join(f'{row[seed]:.2f}' for seed in row if seed != 'network')} mm"
        for row in result["other seeds [mm]"]
    )
    note += f" Trained with other seeds, the medians of the tip are: {seeds}."
    return "\n".join([*lines, "", f"{note} {source(result)}"])


def joints_table(result: dict[str, Any]) -> str:
    """Errors of each joint."""
    lines = heading("median (95 %) [deg]", *(name.removesuffix(".pos") for name in result["joint names"]))
    for row in result["rows"]:
        pairs = zip(row["joints [deg]"]["0.5"], row["joints [deg]"]["0.95"], strict=True)
        lines.append(line(row["way"], *(f"{median:.2f} ({p95:.2f})" for median, p95 in pairs)))
    return "\n".join([*lines, "", f"The same frames. {source(result)}"])


def several_table(result: dict[str, Any]) -> str:
    """Whether several joints fit the same dots."""
    middle, dots = result["several"]["the middle"], result["several"]["all dots"]
    names = [name.removesuffix(".pos") for name in result["joint names"]]
    ranges = middle["range of each joint [deg], median"]
    lines = heading("of the samples of MeanFlow for one middle", *names)
    lines.append(line("range [deg], median over the frames", *(f"{x:.0f}" for x in ranges)))
    counts = ", ".join(f"{n} in {frames} frames" for n, frames in dots["distinct"].items())
    note = (
        f"{100 * middle['put on the middle']:.1f} % of {middle['samples']} samples a frame could be put exactly on the "
        f"middle that was seen, and are {middle['distinct, mean']:.1f} different postures on average. With all dots "
        f"and {dots['starts']} random starts, postures that fit: {counts}."
    )
    return "\n".join([*lines, "", f"{note} {source(result)}"])


PIXEL_TABLES = {
    "dots table": ("dot_tracking", dots_table),
    "ways table": ("pixels", ways_table),
    "joints table": ("pixels", joints_table),
    "several table": ("pixels", several_table),
}
