"""What every figure is: its title, what it means, which way is better, its unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["lower", "higher", "reference"]


@dataclass(frozen=True)
class Kind:
    """What a figure is. direction: which way is better; "reference" means as near as possible to the ceiling."""

    title: str
    meaning: str
    direction: Direction
    unit: str


GRID_KINDS = {
    "frechet": Kind(
        "Frechet distance",
        "Distance between Gaussians fitted to the features of samples and of real examples.",
        "lower",
        "squared feature units",
    ),
    "kernel": Kind(
        "Kernel distance",
        "Unbiased difference between the distributions of the features (KID).",
        "lower",
        "MMD²",
    ),
    "precision": Kind(
        "Precision", "Share of samples that lie among real examples: do they look real?", "higher", "share"
    ),
    "recall": Kind("Recall", "Share of real examples that lie among samples: is the variety there?", "higher", "share"),
    "density": Kind(
        "Density", "How many real examples lie around a sample; robust against outliers.", "higher", "ratio"
    ),
    "coverage": Kind("Coverage", "Share of real examples with a sample nearby.", "higher", "share"),
    "class_entropy": Kind(
        "Class entropy",
        "How evenly samples divide among the classes the classifier sees.",
        "reference",
        "nats",
    ),
    "label_agreement": Kind(
        "Label agreement",
        "Share of samples in which the classifier sees the class that was asked for.",
        "higher",
        "share",
    ),
}

SEQUENCE_KINDS = {
    "nats_per_token": Kind(
        "Nats per token", "How much each held-out token surprises the model, given all before it.", "lower", "nats"
    ),
    "nats_per_character": Kind(
        "Nats per character", "The same for each character, so that vocabularies compare.", "lower", "nats"
    ),
    "nats_per_character_64": Kind(
        "Nats per character, windows of 64",
        "The same when only the tokens before it in a window of 64 are known, so that contexts compare.",
        "lower",
        "nats",
    ),
    "bits_per_byte": Kind("Bits per byte", "The size to which the model compresses held-out data.", "lower", "bits"),
    "nats_per_step": Kind(
        "Nats per step", "The same for each sixteenth note of music, all voices together.", "lower", "nats"
    ),
    "nats_per_residue": Kind("Nats per residue", "The same for each residue of a protein.", "lower", "nats"),
    "perplexity": Kind(
        "Perplexity", "The number of equally likely tokens that would surprise as much.", "lower", "tokens"
    ),
    "bleu_2": Kind("BLEU-2", "Runs of 1 and 2 units of a sample that held-out examples have.", "higher", "score"),
    "bleu_3": Kind("BLEU-3", "Runs of 1 to 3 units of a sample that held-out examples have.", "higher", "score"),
    "bleu_4": Kind("BLEU-4", "Runs of 1 to 4 units of a sample that held-out examples have.", "higher", "score"),
    "bleu_5": Kind("BLEU-5", "Runs of 1 to 5 units of a sample that held-out examples have.", "higher", "score"),
    "self_bleu": Kind(
        "Self-BLEU",
        "BLEU-4 of each sample against all others: how much they resemble one another.",
        "reference",
        "score",
    ),
    "distinct_1": Kind("Distinct-1", "Share of different units among all of the samples.", "reference", "share"),
    "distinct_2": Kind("Distinct-2", "Share of different runs of 2 units among all.", "reference", "share"),
    "distinct_3": Kind("Distinct-3", "Share of different runs of 3 units among all.", "reference", "share"),
    "distinct_4": Kind("Distinct-4", "Share of different runs of 4 units among all.", "reference", "share"),
    "repetition": Kind(
        "Repetition", "Share of the runs of 4 units in a sample that it has said before.", "reference", "share"
    ),
    "longest_verbatim": Kind(
        "Longest verbatim run, median",
        "Longest passage of a sample that is in the training data; far longer than in held-out examples is copying.",
        "reference",
        "characters",
    ),
    "longest_verbatim_most": Kind(
        "Longest verbatim run of all", "The longest such passage of any sample.", "reference", "characters"
    ),
    "novel_words": Kind(
        "Novel words", "Share of the units (words of spaced scripts) that training lacks.", "reference", "share"
    ),
    "length_distance": Kind(
        "Distance of lengths",
        "Mean change of length that would give the samples the lengths of held-out examples (Wasserstein-1).",
        "lower",
        "units",
    ),
    "frechet": GRID_KINDS["frechet"],
    "kernel": GRID_KINDS["kernel"],
}
LATENT_KINDS = {
    "active_latents": Kind(
        "Active latents",
        "Entries of the code that vary with the data; none: the decoder ignores it.",
        "higher",
        "entries",
    ),
}
TASK_KINDS = {
    "bleu": Kind(
        "BLEU", "Runs of 1 to 4 words that outputs share with their own reference (sacreBLEU).", "higher", "of 100"
    ),
    "chrf": Kind("chrF", "The same for runs of characters, so that endings count in part.", "higher", "of 100"),
    "ter": Kind("TER", "Words to change for the reference, of 100 of its words.", "lower", "of 100"),
    "rouge_1": Kind("ROUGE-1", "Words that outputs share with their own reference (F1).", "higher", "share"),
    "rouge_2": Kind("ROUGE-2", "Pairs of words that outputs share with their own reference (F1).", "higher", "share"),
    "rouge_l": Kind("ROUGE-L", "Longest sequence of words in common with the reference (F1).", "higher", "share"),
}
ROW_KINDS = {
    "shapes": Kind(
        "Column shapes", "How alike each column is to the held-out rows', on average; 1: the same.", "higher", ""
    ),
    "trends": Kind(
        "Pair trends", "How alike what each pair of columns has to do with each other is; 1: the same.", "higher", ""
    ),
    "told_apart": Kind(
        "Told apart", "How well boosted trees tell samples from held-out rows (area under the curve); 0.5: not at all.",
        "lower", "area",
    ),
    "trees": Kind(
        "Use, boosted trees", "How well trees that learnt from samples predict the target of held-out rows.",
        "higher", "area or share of the variance",
    ),
    "linear": Kind(
        "Use, linear model", "The same of a linear model.", "higher", "area or share of the variance"
    ),
    "alpha_precision": Kind(
        "Alpha-precision", "How typical of the data samples are, over all degrees; 1: as held-out rows.",
        "higher", "",
    ),
    "beta_recall": Kind(
        "Beta-recall", "How much of the data samples cover, over all degrees; 0.5 and more is much.", "higher", ""
    ),
    "rare_levels": Kind(
        "Rare levels", "Share of levels with 5 training rows or more, but at most 1% of them, that samples have.",
        "higher", "share",
    ),
    "constraints": Kind(
        "Constraints kept",
        "Share of rows that keep all constraints as the model makes them; the others are made anew.",
        "higher",
        "share",
    ),
    "nearer": Kind(
        "Nearer to training rows",
        "Share of samples nearer to a training row than to as many held-out ones; 0.5: no copying.",
        "lower", "share",
    ),
    "copies": Kind(
        "Exact copies", "Share of samples that equal a training row in all columns that are learnt.", "lower", "share"
    ),
    "membership": Kind(
        "Membership by distance",
        "How well distances to samples tell training rows from held-out ones; 0.5: not at all.",
        "lower", "area",
    ),
    "disclosure": Kind(
        "Disclosure of the target",
        "How much more often the nearest sample has the target of training rows than of others.",
        "lower", "share",
    ),
}  # fmt: skip
KINDS = {**GRID_KINDS, **SEQUENCE_KINDS, **LATENT_KINDS, **TASK_KINDS, **ROW_KINDS}
