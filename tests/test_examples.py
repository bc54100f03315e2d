"""Every example runs as a newcomer starts it, prints its result, draws its picture; accuracies are in their bands."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(tmp_path, script, *arguments):
    """What an example prints."""
    env = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def loaded(script):
    """An example as a module, for its functions."""
    spec = importlib.util.spec_from_file_location(Path(script).stem + "_example", EXAMPLES / script)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_every_example_is_tried_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))


def test_mnist_mlp(tmp_path):
    text = run(tmp_path, "mnist_mlp.py", "--epochs", "2")
    assert "Total params: 407,050" in text
    accuracy = float(re.search(r"test accuracy ([\d.]+)", text)[1])
    assert 0.89 < accuracy < 0.91
    assert (tmp_path / "mnist_mlp.png").stat().st_size > 20_000


def test_circuits(tmp_path):
    text = run(tmp_path, "circuits.py")
    assert "value 7776" in text
    assert "dw = [-0.1966 -0.3932  0.1966], dx = [ 0.3932 -0.5898]" in text


def test_hello(tmp_path):
    text = run(tmp_path, "hello.py")
    assert "[0.038 0.125 0.001 0.837]" in text
    assert float(re.search(r"the same numbers to (\S+)", text)[1]) < 1e-6
    after = re.search(r"After 200 steps.*?\n((?: .*\n){4})", text)[1]
    rows = np.array([line.split("due")[1].split() for line in after.strip().split("\n")], float)
    assert rows.argmax(axis=1).tolist() == [1, 2, 2, 3]
    assert rows.max(axis=1).min() > 0.98
    assert text.strip().endswith("each character fed back: hello")


def test_linear_regression_three_ways_alike(tmp_path):
    lines = run(tmp_path, "linear_regression.py", "--points", "20", "--epochs", "20").strip().split("\n")
    assert len({line.split("y = ")[1] for line in lines}) == 1
    assert len(lines) == 3


def test_playground(tmp_path):
    text = run(tmp_path, "playground.py", "--set", "xor")
    assert float(re.search(r"test ([\d.]+)", text)[1]) > 0.95
    assert (tmp_path / "playground_xor.png").exists()


@pytest.mark.parametrize(("model", "parameters", "least"), [("c1", "62,346", 0.15), ("m2", "93,322", 0.6)])
def test_mnist_cnn(tmp_path, model, parameters, least):
    text = run(tmp_path, "mnist_cnn.py", "--quick", "--model", model)
    assert f"Total params: {parameters}" in text
    assert float(re.search(r"test accuracy ([\d.]+)", text)[1]) > least
    assert (tmp_path / "mnist_cnn.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("options", "parameters", "least"),
    [([], "81,674", 0.3), (["--layer", "gru", "--bidirectional"], "123,914", 0.3), (["--layer", "rnn"], "21,386", 0.3)],
)
def test_mnist_rows(tmp_path, options, parameters, least):
    text = run(tmp_path, "mnist_rows.py", "--quick", *options)
    assert f"Total params: {parameters}" in text
    assert float(re.search(r"test accuracy ([\d.]+)", text)[1]) > least
    seen = [float(x) for x in re.findall(r"\d+: ([\d.]+)", re.search(r"Accuracy after rows (.*)", text)[1])]
    assert len(seen) == 7
    assert seen[0] < seen[-1]
    assert (tmp_path / "mnist_rows.png").stat().st_size > 20_000


def test_sentiment(tmp_path, data_folder):
    if not (data_folder / "sentiment").exists():
        pytest.skip("needs sentiment in the folder that TINYNN_DATA names")
    text = run(tmp_path, "sentiment.py", "--quick")
    rows = {m[1]: float(m[2]) for m in re.finditer(r"^(\w+) +[\d,]+ +[\d.]+ +([\d.]+) +[\d.]+$", text, re.MULTILINE)}
    assert list(rows) == ["words", "pairs", "embedding", "lstm"]
    assert rows["words"] > 0.6
    assert rows["pairs"] > 0.65
    assert rows["embedding"] > 0.65
    assert "excellent" in re.search("Good: (.*)", text)[1]
    assert "awful" in re.search("Bad: (.*)", text)[1]
    assert (tmp_path / "sentiment.png").stat().st_size > 20_000


def test_sentiment_by_words_alone_in_full(tmp_path, data_folder):
    if not (data_folder / "sentiment").exists():
        pytest.skip("needs sentiment in the folder that TINYNN_DATA names")
    text = run(tmp_path, "sentiment.py", "--models", "words", "--plot", "")
    assert 0.82 < float(re.search(r"test accuracy ([\d.]+)", text)[1]) < 0.87
    assert not (tmp_path / "sentiment.png").exists()


@pytest.mark.parametrize(
    ("options", "count", "naive", "best"),
    [
        (["--layer", "lstm"], 48, ["as last month", "as a year ago"], 34),
        (["--layer", "dense"], 48, ["as last month", "as a year ago"], 28),
        (["--data", "pollution", "--ahead", "6", "--quick"], 1966, ["as it was last"], 70),
    ],
)
def test_forecast_beats_the_naive_ones(tmp_path, data_folder, options, count, naive, best):
    if not (data_folder / "timeseries").exists():
        pytest.skip("needs timeseries in the folder that TINYNN_DATA names")
    text = run(tmp_path, "forecast.py", *options)
    assert f"{count:,} forecasts" in text
    errors = {m[1].strip(): float(m[2]) for m in re.finditer(r"^([a-z ]+?) +([\d.]+) +[\d.]+$", text, re.MULTILINE)}
    network, *others = errors
    assert others == naive
    assert errors[network] < best
    assert errors[network] < min(errors[name] for name in others)
    (picture,) = tmp_path.glob("forecast_*.png")
    assert picture.stat().st_size > 20_000


def test_fashion_cnn(tmp_path, data_folder):
    if not (data_folder / "fashion-mnist").exists():
        pytest.skip("needs fashion-mnist in the folder that TINYNN_DATA names")
    text = run(tmp_path, "fashion_cnn.py", "--quick", "--no-fast-math")
    assert float(re.search(r"test accuracy ([\d.]+)", text)[1]) > 0.5
    assert (tmp_path / "fashion_cnn.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    ("options", "parameters", "least"),
    [([], "551,914", 0.05), (["--model", "resnet20"], "271,098", 0.05), (["--pretrained"], "271,098", 0.9)],
)
def test_cifar10(tmp_path, data_folder, options, parameters, least):
    if not (data_folder / "cifar10").exists():
        pytest.skip("needs cifar10 in the folder that TINYNN_DATA names")
    text = run(tmp_path, "cifar10.py", "--quick", *options)
    assert f"Total params: {parameters}" in text
    assert float(re.search(r"test accuracy ([\d.]+)", text)[1]) > least
    assert (tmp_path / "cifar10.png").stat().st_size > 20_000


def test_the_shifts_of_cifar10_are_shifts():
    """Every image of the augmented set is found in the padded original, or in its mirror image."""
    example = loaded("cifar10.py")
    x = np.random.default_rng(0).integers(0, 256, (60, 9, 7, 3), dtype=np.uint8)
    y = example.augmented(x, np.random.default_rng(1), reach=2)
    wide = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    found = []
    for n, (i, j, flip) in itertools.product(range(60), np.ndindex(5, 5, 2)):
        window = wide[n, i : i + 9, j : j + 7]
        if np.array_equal(y[n], window[:, ::-1] if flip else window):
            found.append((n, i, j, flip))
    assert [n for n, *_ in found] == list(range(60))
    assert len({tuple(place) for _, *place in found}) > 25
    assert 15 < sum(flip for *_, flip in found) < 45


@pytest.mark.parametrize(("model", "parameters"), [("lstm", "41,409"), ("gru", "33,345"), ("rnn", "16,641")])
def test_shakespeare(tmp_path, data_folder, model, parameters):
    if not (data_folder / "text" / "tinyshakespeare.txt").exists():
        pytest.skip("needs text/tinyshakespeare.txt in the folder that TINYNN_DATA names")
    text = run(tmp_path, "shakespeare.py", "--quick", "--model", model, "--prompt", "\nROMEO:\n")
    counted = [float(value) for value in re.findall(r"-gram: ([\d.]+)", text)]
    assert counted == pytest.approx([3.3677, 2.7478, 2.5016, 2.4067, 2.4073, 2.4293], abs=2e-4)
    writing = text.split("The 4-gram model writes:\n")[1].split("Model:")[0]
    assert writing.startswith("\nROMEO:\n")
    assert re.search(r"\n\n[A-Z][A-Za-z ]+:\n", writing[5:])
    assert f"Total params: {parameters}" in text
    nats = float(re.search(rf"per character: {model} ([\d.]+), 4-gram 2.4067", text)[1])
    assert 2.2 < nats < 2.55  # without a memory of more than one character it is 2.75
    assert (tmp_path / "shakespeare.png").stat().st_size > 20_000


def test_the_streams_of_shakespeare_go_on_from_batch_to_batch():
    example = loaded("shakespeare.py")
    x, y = example.side_by_side(np.arange(50), streams=3, steps=4)
    assert x.shape == y.shape == (12, 4)
    assert (y == x + 1).all()
    for stream in range(3):
        assert x[stream::3].reshape(-1).tolist() == list(range(16 * stream, 16 * stream + 16))


def test_transformer(tmp_path, data_folder):
    if not (data_folder / "text" / "tinyshakespeare.txt").exists():
        pytest.skip("needs text/tinyshakespeare.txt in the folder that TINYNN_DATA names")
    text = run(tmp_path, "transformer.py", "--quick")
    assert "Total params: 30,721" in text
    nats = float(re.search(r"nats per character ([\d.]+)", text)[1])
    assert 2.2 < nats < 2.45  # who looks at the last character only is at 2.49, who looks ahead near 0
    assert (tmp_path / "transformer.png").stat().st_size > 15_000


def test_the_transformer_does_not_look_ahead():
    example = loaded("transformer.py")
    model = example.build(characters=7, length=6, width=8, heads=2, blocks=2, rate=0.1)
    x = np.random.default_rng(0).integers(7, size=(1, 6))
    changed = x.copy()
    changed[0, 4] = (x[0, 4] + 1) % 7
    p, q = model.predict(x)[0], model.predict(changed)[0]
    assert np.array_equal(p[:4], q[:4])
    assert (np.abs(p[4:] - q[4:]).max(axis=1) > 1e-4).all()


def accuracies(text):
    """(name, accuracy, low, high) of each row of the table."""
    pattern = r"^(\S+)\s.*?\s([\d.]+)\s+([\d.]+)\s+([\d.]+) to ([\d.]+)"
    return [(m[1], float(m[3]), float(m[4]), float(m[5])) for m in re.finditer(pattern, text, re.MULTILINE)]


def test_classifiers_reach_what_courses_report(tmp_path):
    rows = accuracies(run(tmp_path, "classifiers.py", "D1", "D3", "D4", "M1", "K1", "--seeds", "2"))
    assert [row[0] for row in rows] == ["D1", "D3", "D4", "M1"]
    for name, accuracy, low, high in rows:
        assert low <= accuracy <= high, f"{name}: {accuracy} is not between {low} and {high}"


def test_fashion_classifier_reaches_what_courses_report(tmp_path, data_folder):
    if not (data_folder / "fashion-mnist").exists():
        pytest.skip("needs fashion-mnist in the folder that TINYNN_DATA names")
    ((_, accuracy, low, high),) = accuracies(run(tmp_path, "classifiers.py", "F1-adam", "--seeds", "2"))
    assert low - 0.003 <= accuracy <= high + 0.003


@pytest.mark.parametrize(("model", "least"), [("skipgram", 0.8), ("cbow", 0.75)])
def test_word2vec(tmp_path, data_folder, model, least):
    if not (data_folder / "text").exists():
        pytest.skip("needs text in the folder that TINYNN_DATA names")
    text = run(tmp_path, "word2vec.py", "--quick", "--model", model)
    auc, chance = map(float, re.search(r"AUC ([\d.]+) \(.*: ([\d.]+)\)", text).groups())
    assert auc > least
    assert 0.4 < chance < 0.6
    assert re.search(r"pleasure: .*pain", text)
    assert (tmp_path / "word2vec.png").stat().st_size > 20_000


def test_seq2seq(tmp_path):
    text = run(tmp_path, "seq2seq.py", "--quick")
    assert float(re.search(r"Exact answers ([\d.]+)", text)[1]) > 0.9
    assert (tmp_path / "seq2seq.png").stat().st_size > 20_000


def test_the_tasks_of_seq2seq_are_right_and_what_is_held_out_is_new():
    example = loaded("seq2seq.py")
    days = example.dates(300, np.random.default_rng(0))
    assert len({answer for _, answer in days}) == 300
    spellings = example.spellings(example.datetime.date(2019, 3, 5))
    assert {"march the 5th, 2019", "Tue 05.03.19", "5 March 2019"} < set(spellings)
    sums = example.sums(300, np.random.default_rng(0))
    assert all(str(sum(map(int, question.split("+")))) == answer for question, answer in sums)
    assert len({tuple(sorted(question.split("+"))) for question, _ in sums}) == 300


def test_an_answer_of_seq2seq_is_its_forward_pass_step_by_step():
    """What ``answer`` writes letter by letter is what ``predict`` finds likeliest after the letters before it."""
    example = loaded("seq2seq.py")
    example.nn.set_seed(1)
    pairs = example.sums(20, np.random.default_rng(0))
    examples = example.Examples(pairs)
    model = example.Seq2Seq(len(examples.vocabulary), examples.steps, units=16)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*examples.arrays(pairs), batch_size=5, epochs=10, verbose=0)
    questions = examples.questions(pairs)
    begin = examples.vocabulary.ids[example.START]
    letters, scores = model.answer(questions, begin, 5)
    assert not np.any(letters == 0)  # else the decoder would have skipped a step
    known = np.hstack([questions, np.full((20, 1), begin), letters[:, :-1]])
    np.testing.assert_array_equal(model.predict(known).argmax(axis=-1), letters)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(scores[np.broadcast_to(questions[:, None] == 0, scores.shape)], 0)


def numbers(text):
    """{name: the numbers behind it} for each line that is a name and numbers."""
    rows = re.finditer(r"^([a-z][\w -]*?) +([\d,.][\d,. ]*)$", text, re.MULTILINE)
    return {m[1]: [float(n.replace(",", "")) for n in m[2].split()] for m in rows}


def test_housing(tmp_path, data_folder):
    if not (data_folder / "tabular").exists():
        pytest.skip("needs tabular in the folder that TINYNN_DATA names")
    text = run(tmp_path, "housing.py", "--quick")
    rows = numbers(text)
    assert list(rows) == ["network", "linear model", "mean"]
    test, folds, spread = np.array(list(rows.values())).T
    assert 34_000 < test[0] < 44_000  # below: it has seen what it is tested on
    assert 36_000 < folds[0] < 44_000
    assert 45_000 < test[1] < 55_000
    assert test[2] == 91_761  # no network in it
    assert (spread < 6_000).all()
    assert (tmp_path / "housing.png").stat().st_size > 20_000
    # The saved model normalises by itself: it takes raw numbers, and knows nothing of the test set.
    model = loaded("housing.py").nn.load_model(tmp_path / "housing.tinynn")
    assert model.input_names == ["numbers", "place"]
    assert model.get_layer("normalization").get_weights()[2] == 3500


def test_the_features_of_housing():
    example = loaded("housing.py")
    table = np.array(
        [[-122, 37, 41, 880, np.nan, 322, 126, 8.0, 3], [-118, 34, 10, 100, 40, 50, 20, 2.0, 1]], "float32"
    )
    x, place = example.inputs(table, bedrooms_per_room=0.25)
    assert place.tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]
    np.testing.assert_allclose(x[:, :4], table[:, [0, 1, 2, 7]])
    np.testing.assert_allclose(np.exp(x[0, 4:]), [880, 220, 322, 126, 8, 880 / 126, 0.25, 322 / 126], rtol=1e-5)
    np.testing.assert_allclose(np.exp(x[1, 4:]), [100, 40, 50, 20, 2, 5, 0.4, 2.5], rtol=1e-5)


def test_folders(tmp_path, data_folder):
    if not (data_folder / "cifar10").exists():
        pytest.skip("needs cifar10 in the folder that TINYNN_DATA names")
    pytest.importorskip("PIL", reason="needs Pillow")
    rows = numbers(run(tmp_path, "folders.py", "--quick", "--folder", "pictures"))
    assert list(rows) == ["small", "dropout", "augmentation", "transfer", "fine-tuning"]
    assert len(list((tmp_path / "pictures" / "train" / "dogs").glob("*.png"))) == 300
    assert len(list(tmp_path.glob("pictures/*/*/*.png"))) == 1200
    tests = {name: row[4] for name, row in rows.items()}
    assert rows["small"][1] > 0.55
    assert 0.5 < tests["small"] < 0.75
    assert tests["transfer"] > 0.75
    assert 0.8 < tests["fine-tuning"] < 0.97
    assert (tmp_path / "folders.png").stat().st_size > 20_000


def test_search(tmp_path):
    text = run(tmp_path, "search.py", "--quick")
    rows = [float(line.split()[-1]) for line in re.findall(r"^ +\d+ (?:random|halving) .*$", text, re.MULTILINE)]
    assert len(rows) == 9
    assert rows == sorted(rows, reverse=True)
    best = {m[1]: float(m[2]) for m in re.finditer(r"^(\w+) +\d settings, 9 epochs: .* ([\d.]+)$", text, re.MULTILINE)}
    assert max(best.values()) == rows[0]
    assert 0.8 < rows[0] < 0.95
    assert best["halving"] > best["random"] > 0.4
    assert abs(float(re.search(r"test accuracy ([\d.]+)", text)[1]) - rows[0]) < 0.04
    assert (tmp_path / "search.png").stat().st_size > 20_000


def test_a_survivor_of_the_search_goes_on_as_if_it_had_never_stopped(tmp_path):
    example = loaded("search.py")
    rng = np.random.default_rng(0)
    data = rng.random((200, 28, 28), "float32"), rng.integers(0, 10, 200)
    weights = []
    for name, stops in (("at once", [3]), ("in parts", [1, 2, 3])):
        (tmp_path / name).mkdir()
        example.nn.set_seed(1)
        search = example.Search(data, data, seed=1, folder=tmp_path / name)
        survivor = search.begin("halving")
        for epochs in stops:
            search.advance(survivor, epochs)
        assert search.epochs == len(survivor.accuracies) == 3
        weights.append(example.nn.load_model(survivor.path).get_weights())
    assert all(np.array_equal(a, b) for a, b in zip(*weights, strict=True))


def test_ensemble(tmp_path):
    rows = numbers(run(tmp_path, "ensemble.py", "--quick"))
    accuracies = [rows[f"seed_{k}"][0] for k in range(1, 8)]
    assert len(set(accuracies)) > 3
    assert rows["average"][0] == pytest.approx(np.mean(accuracies), abs=1e-4)
    assert rows["mean"][0] > rows["average"][0] + 0.005
    assert rows["mean"][1] < rows["average"][1]  # convexity: always
    assert 0.88 < rows["mean"][0] < 0.96
    assert (tmp_path / "ensemble.png").stat().st_size > 20_000
    example = loaded("ensemble.py")
    ensemble = example.nn.load_model(tmp_path / "ensemble.tinynn")
    assert ensemble.count_params() == 7 * example.conv(1).count_params()
