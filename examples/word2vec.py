"""word2vec on Plato's Republic: words become vectors whose angles say which words are used alike.

python examples/word2vec.py
python examples/word2vec.py --model cbow
python examples/word2vec.py --quick

T. Mikolov, I. Sutskever, K. Chen, G. Corrado, J. Dean, "Distributed Representations of Words and Phrases and their
Compositionality", NeurIPS 2013. The text is in the folder that TINYNN_DATA names.
"""

import argparse
import time

import numpy as np

import tinynn as nn
from tinynn import Graph, Layer, datasets, initializers, losses, ops, optim, plots, text
from tinynn import layers as L

RELATED = {
    "justice": ("injustice", "just", "unjust", "virtue"),
    "soul": ("body", "souls", "mind", "spirit"),
    "pleasure": ("pain", "pleasures", "desire", "pains"),
    "democracy": ("oligarchy", "tyranny", "government", "constitution"),
    "music": ("gymnastic", "harmony", "rhythm", "poetry"),
    "father": ("mother", "son", "parents", "children"),
    "war": ("peace", "battle", "enemies", "soldiers"),
    "rich": ("poor", "wealth", "money", "property"),
    "geometry": ("astronomy", "dialectic", "mathematical", "sciences"),
    "physician": ("medicine", "disease", "health", "pilot"),
}
"""Ten words and four that belong to each by their meaning, all at least 20 times in the text. They were written down
before any vector was trained."""

# name: (examples per step, learning rate)
MODELS = {"skipgram": (1024, 0.003), "cbow": (128, 0.005)}


class Word2Vec(Layer):
    """Scores of candidates for a place in the text, from the words that stand around it.

    Two tables of vectors: v of the words that are seen, u of the words that are guessed.  score = u[candidate] . mean v

    seen (N, C), candidates (N, K) -> scores (N, K). One word is seen in skip-gram, up to 2 ``window`` in CBOW; there
    0 stands where the window has no word, and does not count in the mean.
    """

    input_dtype = "int32"

    def __init__(self, words, dimensions, **base):
        super().__init__(**base)
        self.words, self.dimensions = words, dimensions
        self.seen = L.Embedding(
            words, dimensions, initializers.RandomUniform(-0.5 / dimensions, 0.5 / dimensions), mask_zero=True
        )
        self.mean = L.GlobalAveragePooling1D()
        self.guessed = L.Embedding(words, dimensions, "zeros")

    def forward(self, x):
        seen, candidates = x
        v = self.mean(self.seen(seen))
        u = self.guessed(candidates)
        return (u * ops.expand_dims(v, 1)).sum(axis=-1)


class Corpus:
    """A text as ids of its words, and what is drawn from it: examples, and words that are none."""

    def __init__(self, content, min_count, window, threshold, rng):
        words = [word for word in (word.strip("'") for word in text.words(content)) if word]
        self.vocabulary = text.Vocabulary.from_words([words], min_count=min_count, unknown=None)
        self.ids = self.vocabulary.encode([word for word in words if word in self.vocabulary])
        self.counts = np.bincount(self.ids, minlength=len(self.vocabulary))
        self.window, self.threshold, self.rng = window, threshold, rng
        noise = self.counts**0.75  # rare words come a little more often than in the text
        self.noise = np.cumsum(noise / noise.sum())

    def subsampled(self):
        """The text without most of its "the" and "of": a word of share f stays with probability sqrt(threshold / f)."""
        share = self.counts / self.counts.sum()
        keep = np.sqrt(self.threshold / np.maximum(share, 1e-12))
        return self.ids[self.rng.random(len(self.ids)) < keep[self.ids]]

    def windows(self):
        """Each word (N,) and those around it (N, 2 window): up to 1 ... window on each side, at random; 0 is none."""
        ids = self.subsampled()
        wide = np.pad(ids, self.window)
        offsets = [d for d in range(-self.window, self.window + 1) if d]
        around = np.stack([wide[self.window + d : self.window + d + len(ids)] for d in offsets], axis=1)
        reach = self.rng.integers(1, self.window + 1, len(ids))
        around[np.abs(offsets) > reach[:, None]] = 0
        return ids, around

    def examples(self, model):
        """Words that are seen (N, C) and the word to guess (N,), in a new order in every epoch."""
        center, around = self.windows()
        if model == "cbow":  # all around it are seen together, and the word is guessed
            seen, target = around, center
        else:  # each word sees each of those around it
            row, column = np.nonzero(around)
            seen, target = center[row, None], around[row, column]
        order = self.rng.permutation(len(target))
        return seen[order], target[order]

    def negatives(self, *shape):
        """Words drawn by count^0.75, as if they stood there."""
        return np.searchsorted(self.noise, self.rng.random(shape)).astype(np.int32)


def train(corpus, args):
    """Negative sampling: tell the word that stands there (label 1) from words drawn at random (label 0)."""
    model = Word2Vec(len(corpus.vocabulary), args.dimensions)
    model.ensure_built([(2 * corpus.window if args.model == "cbow" else 1,), (1 + args.negatives,)])
    optimizer = optim.Adam(args.learning_rate)
    optimizer.build(model.parameters())
    loss_of = losses.BinaryCrossentropy(from_logits=True)
    for epoch in range(args.epochs):
        start, total = time.perf_counter(), 0.0
        optimizer.learning_rate = args.learning_rate * (1 - epoch / args.epochs)
        seen, target = corpus.examples(args.model)
        batches = range(0, len(target) - args.batch_size + 1, args.batch_size)
        for first in batches:
            batch = slice(first, first + args.batch_size)
            candidates = np.column_stack([target[batch], corpus.negatives(args.batch_size, args.negatives)])
            labels = np.zeros(candidates.shape, "float32")
            labels[:, 0] = 1
            graph = Graph(training=True, backend=args.backend)
            scores = model([graph.tensor(seen[batch], dtype="int32"), graph.tensor(candidates, dtype="int32")])
            loss = loss_of(labels, scores)
            graph.backward(loss)
            optimizer.step()
            total += float(loss.data)
        seconds = time.perf_counter() - start
        mean = total / len(batches)
        print(
            f"Epoch {epoch + 1}/{args.epochs}: {len(target):,} examples, loss {mean:.4f}, {seconds:.1f} s", flush=True
        )
    return model


def unit_vectors(model):
    """The vectors of the words that are seen, all of length 1: their products are cosines."""
    vectors = model.seen.embeddings.numpy().astype("float64")
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def related_auc(vectors, corpus, seed=0, draws=100):
    """How often a related pair has a larger cosine than a random pair of words that are about as frequent.

    For each of the 40 pairs ``draws`` others are drawn: in the place of each word one that is at most 20 ranks more, or
    less, frequent. The area under the ROC curve is the share of comparisons that the related pairs win.
    """
    rng = np.random.default_rng(seed)
    ids = corpus.vocabulary.ids
    pairs = np.array([(ids[word], ids[other]) for word, others in RELATED.items() for other in others])
    # Ids are in the order of frequency, so that neighbours in number are neighbours in frequency.
    drawn = np.clip(pairs[:, None] + rng.integers(-20, 21, (len(pairs), draws, 2)), 1, len(ids) - 1).reshape(-1, 2)
    related = (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(axis=1)
    random = (vectors[drawn[:, 0]] * vectors[drawn[:, 1]]).sum(axis=1)[drawn[:, 0] != drawn[:, 1]]
    return float((related[:, None] > random).mean())


def neighbours(vectors, corpus, word, number=6):
    """The words of the largest cosines, among those that occur at least 20 times."""
    vocabulary = corpus.vocabulary
    cosines = vectors @ vectors[vocabulary.ids[word]]
    cosines[(corpus.counts < 20) | (np.arange(len(cosines)) == vocabulary.ids[word])] = -2
    return [(vocabulary.tokens[i], cosines[i]) for i in np.argsort(-cosines)[:number]]


def draw(vectors, corpus, path):
    """The words of the list in the plane in which they differ most: the first two principal components."""
    groups = [(word, name) for name, others in RELATED.items() for word in (name, *others)]
    x = vectors[[corpus.vocabulary.ids[word] for word, _ in groups]]
    _, _, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    words, names = zip(*groups, strict=True)
    plots.words(x @ axes[:2].T, words, names, path=path)
    print(f"Map of the words: {path}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Learn word vectors from Plato's Republic.")
    parser.add_argument("--model", choices=list(MODELS), default="skipgram", help="default skipgram")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the text")
    parser.add_argument("--dimensions", type=int, default=64, help="numbers per word")
    parser.add_argument("--window", type=int, default=5, help="words on each side, at most")
    parser.add_argument("--negatives", type=int, default=5, help="wrong words for each right one")
    parser.add_argument("--threshold", type=float, default=1e-3, help="share above which words are left out at random")
    parser.add_argument("--min-count", type=int, default=5, help="rarer words are left out")
    parser.add_argument("--batch-size", type=int, help="examples per step (default 1024, cbow 128)")
    parser.add_argument("--learning-rate", type=float, help="at the start; it falls to 0 (default 0.003, cbow 0.005)")
    parser.add_argument("--quick", action="store_true", help="two epochs of the frequent words: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of vectors, windows and wrong words (default 1)")
    parser.add_argument("--plot", default="word2vec.png", help="where to draw the map; '' for none")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.dimensions, args.min_count, args.learning_rate = 2, 32, 20, 0.01
    batch_size, learning_rate = MODELS[args.model]
    args.batch_size, args.learning_rate = args.batch_size or batch_size, args.learning_rate or learning_rate

    nn.set_seed(args.seed)
    corpus = Corpus(
        datasets.republic.load_data(), args.min_count, args.window, args.threshold, np.random.default_rng(args.seed)
    )
    print(f"{len(corpus.ids):,} words of the text are one of {len(corpus.vocabulary) - 1:,}")
    start = time.perf_counter()
    model = train(corpus, args)
    seconds = time.perf_counter() - start

    vectors = unit_vectors(model)
    print(f"\nNearest by cosine, trained in {seconds:.1f} s:")
    for word in RELATED:
        print(f"{word:>10}: " + ", ".join(f"{near} {cosine:.2f}" for near, cosine in neighbours(vectors, corpus, word)))
    untrained = np.random.default_rng(args.seed).standard_normal(vectors.shape)
    untrained /= np.linalg.norm(untrained, axis=1, keepdims=True)
    print(f"\nRelated pairs beat random pairs: AUC {related_auc(vectors, corpus):.3f}", end=" ")
    print(f"(vectors that learned nothing: {related_auc(untrained, corpus):.3f})")
    if args.plot:
        draw(vectors, corpus, args.plot)


if __name__ == "__main__":
    main()
