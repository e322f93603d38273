"""Critical-difference diagram: which methods differ over many categories, at a glance (Demsar 2006)."""

from pathlib import Path

from matplotlib.figure import Figure

from anomalybench.evaluate.paired_tests import Ranking


def draw(found: Ranking, metric: str, file: Path) -> None:
    """Critical-difference diagram: mean ranks on a line, bars over those that cannot be told apart (Demsar 2006)."""
    n = len(found.methods)
    height = 0.34
    figure = Figure(figsize=(7.5, 1.5 + height * (n + 1) / 2 + 0.18 * len(found.cliques)))
    axes = figure.add_subplot()
    top = 0.2 * len(found.cliques) + 0.3
    axes.set(xlim=(n + 0.05, 0.95), ylim=(-height * (n + 1) / 2 - 0.2, top + 0.1), yticks=[])
    axes.set_xticks(range(1, n + 1))
    axes.xaxis.tick_top()
    axes.spines[["left", "right", "bottom"]].set_visible(False)
    axes.spines["top"].set_position(("data", top))
    for place, (name, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
        left = place < (n + 1) // 2
        level = -height * ((place if left else n - 1 - place) + 1)
        side = 0.95 if left else n + 0.05
        axes.plot([rank, rank, side], [top, level, level], color="0.35", linewidth=1, clip_on=False)
        axes.annotate(
            f"{name}  {rank:.2f}", (side, level), xytext=(6 if left else -6, 0), textcoords="offset points",
            ha="left" if left else "right", va="center", annotation_clip=False, parse_math=False,
        )  # fmt: skip
    ranks = dict(zip(found.methods, found.ranks, strict=True))
    for i, clique in enumerate(found.cliques):
        level = top - 0.2 * (i + 1)
        axes.plot([ranks[clique[0]] - 0.04, ranks[clique[-1]] + 0.04], [level, level], color="#0072B2", linewidth=4)
    title = f"Mean rank by {metric} over {found.n_categories} categories (1 = best)\n"
    axes.set_title(
        title + "bars join methods that cannot be told apart (Wilcoxon signed-rank, Holm, 5 %)", fontsize=10, pad=14
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, bbox_inches="tight")
