"""The questions at the end of the chapters, with feedback on each answer.

:func:`lamae_tutorial.teaching.notebook.quiz` shows them. They stand here and not in the notebooks so that
the right answer is not read before the question.
"""

from collections.abc import Mapping
from typing import Any


def question(text: str, answers: Mapping[str, tuple[bool, str]]) -> dict[str, Any]:
    """A multiple-choice question in the form of `jupyterquiz`.

    Parameters
    ----------
    text : str
    answers : dict of str to (bool, str)
        Each answer with whether it is right and what the reader is told who picks it.
    """
    return {
        "question": text,
        "type": "multiple_choice",
        "answers": [
            {"answer": answer, "correct": right, "feedback": feedback} for answer, (right, feedback) in answers.items()
        ],
    }


QUIZZES = {
    "autoencoder": [
        question(
            "A detector has an AUROC of 20 % on one kind of OoD images. What does that say?",
            {
                "It finds one OoD image in five.": (
                    False,
                    "AUROC compares pairs and knows no threshold, so it is no share of images found.",
                ),
                "An OoD image scores lower than an ID image in 4 of 5 pairs.": (
                    True,
                    "Yes: the assumption does not merely fail here, it is upside down.",
                ),
                "The detector guesses at random.": (
                    False,
                    "Guessing gives 50 %. 20 % is information, of the wrong sign.",
                ),
            },
        ),
        question(
            "Which number changes if the OoD test images are cut to a tenth, drawn at random?",
            {
                "AUROC": (
                    False,
                    "It compares pairs, so it stays the same but for chance.",
                ),
                "FPR95": (
                    False,
                    "It is a share of the OoD images; it stays the same but for chance.",
                ),
                "Average precision": (
                    True,
                    "Yes: precision depends on how common the positive class is.",
                ),
            },
        ),
        question(
            "You may look at anything but OoD images. How can you set the threshold?",
            {
                "Where the two densities cross.": (
                    False,
                    "Only one of the two densities is known.",
                ),
                "At a quantile of the scores of ID validation images.": (
                    True,
                    "Yes: it fixes the share of false alarms. The share that is caught stays unknown.",
                ),
                "At the mean error of the training images.": (
                    False,
                    "Many ID images lie above it, and training images are rebuilt better than new ones.",
                ),
            },
        ),
        question(
            "Training goes on until the AE rebuilds ID images without any error. What happens to detection?",
            {
                "It becomes perfect.": (
                    False,
                    "A decoder that can draw everything draws OoD images too.",
                ),
                "Nothing can be said: it depends on what else it can draw.": (
                    True,
                    "Yes. The loss is silent about all images but the ID ones.",
                ),
                "It becomes chance.": (
                    False,
                    "Not necessarily: OoD images may still be rebuilt badly.",
                ),
            },
        ),
    ],
    "memae": [
        question(
            "An encoder doubles the length of every latent. What do the attention weights do?",
            {
                "They become sparser.": (
                    False,
                    "That would happen with the inner product. A cosine divides by the length.",
                ),
                "They stay the same.": (
                    True,
                    "Yes: only the direction counts, so the encoder cannot sharpen its own attention.",
                ),
                "They become more uniform.": (
                    False,
                    "The length of the latent does not enter a cosine.",
                ),
            },
        ),
        question(
            "With 100 slots and the threshold 3/N, when is a slot read at all?",
            {
                "When its weight is at least three times the mean weight.": (
                    True,
                    "Yes, 1/N is the mean weight. Cosines seldom differ that much.",
                ),
                "When it is among the three best.": (
                    False,
                    "The threshold is a number, not a rank; often no slot passes it.",
                ),
                "When its cosine exceeds 0.03.": (
                    False,
                    "The threshold applies to the weight, after the softmax.",
                ),
            },
        ),
        question(
            "What does the decoder draw for an image whose weights have all shrunk to zero?",
            {
                "A black image.": (
                    False,
                    "Its input is the zero vector, but its biases still draw something.",
                ),
                "The most similar training image.": (
                    False,
                    "Nothing about the image reaches the decoder.",
                ),
                "The same picture as for every other such image.": (
                    True,
                    "Yes. The score is then the distance to a fixed picture.",
                ),
            },
        ),
        question(
            "Decoded slots do not look like digits. Is the training broken?",
            {
                "Yes, slots should be prototypes.": (
                    False,
                    "The loss never sees a slot alone, so nothing makes it a prototype.",
                ),
                "No: only mixtures of slots enter the loss.": (
                    True,
                    "Yes. Judge the memory by what mixtures it allows.",
                ),
                "Yes, the entropy weight is too high.": (
                    False,
                    "It is so low here that it hardly matters.",
                ),
            },
        ),
    ],
    "lamae": [
        question(
            "A class has 50 slots instead of 10. Does the largest possible weight of one slot grow or shrink?",
            {
                "It grows.": (False, "More slots share a sum of 1, and no cosine exceeds 1."),
                "It shrinks.": (
                    True,
                    "Yes: the largest is at most e² / (e² + 49). The mixture gets flatter.",
                ),
                "It stays the same.": (
                    False,
                    "The bound is e² / (e² + N - 1), which depends on the number N of slots.",
                ),
            },
        ),
        question(
            "Which images raise LAMAE's false alarms?",
            {
                "OoD images that look like a class.": (False, "Those are missed. A false alarm is an ID image."),
                "Misclassified ID images.": (
                    True,
                    "Yes: they are rebuilt from the wrong class and get a large error. A better classifier helps.",
                ),
                "ID images of the largest class.": (False, "A class with many images is learnt best, if anything."),
            },
        ),
        question(
            "Why must the threshold not be chosen on the OoD test set?",
            {
                "Because in use there is no OoD set.": (
                    True,
                    "Yes. A quantile of ID validation scores fixes the share of false alarms, and no more.",
                ),
                "Because AUROC would change.": (False, "AUROC has no threshold."),
                "Because there are too few OoD images.": (False, "With a million of them it would be no better."),
            },
        ),
        question(
            "In the loss of LAMAE the sum over pixels is replaced by the mean. What happens to the classifier?",
            {
                "Its loss weighs more against the reconstruction.": (
                    True,
                    "Yes, by the number of pixels: the reconstruction term is smaller by that factor.",
                ),
                "Nothing: a mean is a sum up to a factor.": (
                    False,
                    "Right for a loss of one term. Here there are two, and the factor changes their balance.",
                ),
                "It is no longer trained.": (False, "The cross entropy is untouched; it even has more say."),
            },
        ),
    ],
    "complexity": [
        question(
            "An image is turned into its negative (black for white). What happens to its entropy?",
            {
                "It grows.": (False, "The histogram has the same shares, at other levels."),
                "It stays the same.": (True, "Yes: only the shares of the levels enter, not the levels."),
                "It shrinks.": (False, "The histogram has the same shares, at other levels."),
            },
        ),
        question(
            "For which OoD images does dividing the error by CN raise AUROC?",
            {
                "For those that are more complex than the ID images.": (
                    False,
                    "Their errors are divided by more than those of ID images, so they sink.",
                ),
                "For all: that is why LAMAE+ is better than LAMAE.": (
                    False,
                    "The paper's own Table 3 has two digits where it falls.",
                ),
                "For those that are plainer than the ID images.": (
                    True,
                    "Yes: their errors are divided by less, so they rise against the ID errors.",
                ),
            },
        ),
        question(
            "A table reports 100 % on constant images for a detector with CN. What have you learnt about its network?",
            {
                "Nothing.": (True, "Yes: the error is divided by almost 0, whatever the network does."),
                "That it cannot rebuild constant images.": (
                    False,
                    "Its error there may be tiny; any error above 0, divided by almost 0, is huge.",
                ),
                "That it has learnt what an ID image is.": (False, "Random numbers for errors reach 100 % as well."),
            },
        ),
        question(
            "Two data sets are joined, and entropy and error correlate strongly. What may be the reason?",
            {
                "Only that complex images are hard to rebuild.": (
                    False,
                    "That is one reason. The sets may also differ in both for other reasons.",
                ),
                "The sets differ in entropy and in error, whatever holds within each.": (
                    True,
                    "Yes: two clouds apart give a correlation. Look inside each set as well.",
                ),
                "Chance, in sets of thousands of images.": (False, "Chance hardly moves a correlation over so many."),
            },
        ),
    ],
    "difference": [
        question(
            "The pixels of a difference image are shuffled. What changes?",
            {
                "The reconstruction error.": (False, "It is a sum over the pixels, in whatever order."),
                "What the classifier sees.": (
                    True,
                    "Yes: it looks at a picture, in which errors have a place.",
                ),
                "Nothing at all.": (False, "The sum stays, but the picture does not."),
            },
        ),
        question(
            "Pseudo-outliers are to be chosen. Which way uses no OoD image?",
            {
                "Train with some strategies, test on ID images against a strategy that was left out.": (
                    True,
                    "Yes: the strategy that was left out stands for what is not foreseen, and is made of ID images.",
                ),
                "Keep the strategy with the best AUROC on the OoD test set.": (
                    False,
                    "Then the OoD test set has chosen a setting, and its AUROC is no test any more.",
                ),
                "Test each strategy against its own pseudo-outliers.": (
                    False,
                    "No OoD image is used, but it rewards strategies that are easy to learn.",
                ),
            },
        ),
        question(
            "Full model 59.1 %, without a part 58.7 %, one run each; seeds scatter by 3 points. What has been shown?",
            {
                "The part helps a little.": (False, "A gap far smaller than the scatter may as well be chance."),
                "The part does nothing.": (False, "That has not been shown either: the runs are too few to tell."),
                "Nothing about the part.": (
                    True,
                    "Yes: it takes repeats to see so small an effect, or its absence.",
                ),
            },
        ),
        question(
            "Why may a likelihood call images of an unseen class more probable than ID images?",
            {
                "Because it was trained for too short a time.": (
                    False,
                    "Well-trained models do it too: the cost of an image depends on how plain it is.",
                ),
                "Because plain images cost few bits, whatever they show.": (
                    True,
                    "Yes: predictable pixels are cheap, and a plain image has many of them.",
                ),
                "Because likelihoods are only defined for ID images.": (
                    False,
                    "Every image has a likelihood; it is just not a measure of belonging.",
                ),
            },
        ),
    ],
    "benchmark": [
        question(
            "With seed 0 a detector beats another by a point of AUROC; DeLong's p is 0.0001. What is shown?",
            {
                "That the first method is better than the second.": (
                    False,
                    "One training of each was compared. Another seed may turn the order.",
                ),
                "That these two trained networks differ on images like these.": (
                    True,
                    "Yes: the test covers the chance of the images, not that of the training.",
                ),
                "Nothing, as AUROC has no significance test.": (
                    False,
                    "It has: DeLong's, made for two AUROCs on the same images.",
                ),
            },
        ),
        question(
            "Why is DeLong's interval for LAMAE+ minus LAMAE shorter than for LAMAE+ minus AE?",
            {
                "Because LAMAE is the better detector.": (
                    False,
                    "The level of AUROC is not what makes it short here.",
                ),
                "Because it uses more images.": (False, "Both use the same images."),
                "Because both win and lose with nearly the same images, so that their differences vary little.": (
                    True,
                    "Yes: the variance is that of the differences, and what is common to both cancels.",
                ),
            },
        ),
        question(
            "A row is marked 'within' the paper's number, whose deviation is 9 points. What follows?",
            {
                "The paper's result is reproduced.": (
                    False,
                    "A wide deviation lets nearly everything in. It is no evidence against, and little for.",
                ),
                "Little: nearly any value would have been within.": (
                    True,
                    "Yes. Ask for more seeds, and for the single runs behind the deviation.",
                ),
                "The detector is worthless.": (
                    False,
                    "A spread says how much a run depends on its seed, not how good it is.",
                ),
            },
        ),
        question(
            "The best of ten variants of your method, one seed each, is put into the table. Its rivals are run once.",
            {
                "Fair, as each row is one run.": (
                    False,
                    "Your row is the best of ten runs, and that is higher even if all ten variants are equal.",
                ),
                "Unfair: choose the variant on other images, then run it anew with fresh seeds.": (
                    True,
                    "Yes: what was picked for being high has to be measured again.",
                ),
                "Unfair, and Bonferroni mends it.": (
                    False,
                    "It corrects p values. The number in the table stays too high.",
                ),
            },
        ),
    ],
    "threshold": [
        question(
            "A threshold was chosen so that it separates noise images from ID images. What is known about it?",
            {
                "It finds most OoD images.": (
                    False,
                    "It finds noise. Other OoD images may score far lower than noise.",
                ),
                "It rejects few ID images, and finds most OoD images.": (
                    False,
                    "Neither was asked for: many thresholds separate noise, with different false alarms.",
                ),
                "How it does on noise.": (True, "Yes: another OoD set would have chosen another threshold."),
            },
        ),
        question(
            "Which assumption makes a p-value of at most 0.05 happen to at most 5 % of ID images?",
            {
                "The scores are normally distributed.": (False, "Only their ranks enter; any distribution will do."),
                "New ID images and calibration images are exchangeable.": (
                    True,
                    "Yes: then the rank of a new score among them is uniform.",
                ),
                "The detector has a high AUROC.": (
                    False,
                    "Random numbers keep the promise as well, without any power.",
                ),
            },
        ),
        question(
            "There are 49 calibration images. What happens at alpha = 0.01?",
            {
                "1 % of ID images are rejected, on average.": (
                    False,
                    "The smallest p-value there can be is 1/50 = 0.02, so none lies at or below 0.01.",
                ),
                "About half an image is rejected.": (False, "A p-value of 1/50 at least is above 0.01 for each image."),
                "No image is ever rejected.": (True, "Yes: 0.01 needs 99 images at least. `predict` says so."),
            },
        ),
        question(
            "One image in a thousand is OoD, and the threshold rejects 5 % of ID images as promised. Which holds?",
            {
                "Most of the alarms are false.": (
                    True,
                    "Yes: even if all OoD images are found, there are about fifty false alarms for each true one.",
                ),
                "At most 5 % of the alarms are false.": (
                    False,
                    "The 5 % are a share of the ID images, not of the alarms.",
                ),
                "95 % of the OoD images are found.": (False, "The promise says nothing about OoD images."),
            },
        ),
    ],
}
