# SPDX-License-Identifier: GPL-2.0
"""Makes trees.txt: two forests of scikit-learn, and what they predict.

    pip install scikit-learn==1.9.1 && python3 trees.py > trees.txt

Each line is a forest as a model file has it (nodes of four words, roots, leaves of `n` words that count
2^-shift), samples as numbers of f32, and the predictions of scikit-learn, which are means over the trees.
"""
import numpy as np
from sklearn.datasets import load_iris, make_regression
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor


def downwards(threshold):
    """The greatest f32 that is not above."""
    near = np.float32(threshold)
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return int(near.view(np.int32))


def forest(trees, leaf, shift):
    nodes, roots, leaves = [], [], []

    def place(tree, i):
        if tree.children_left[i] < 0:
            leaves.append([round(float(v) * 2**shift) for v in leaf(tree.value[i][0])])
            return -len(leaves), 0
        left, a = place(tree, tree.children_left[i])
        right, b = place(tree, tree.children_right[i])
        height = 1 + max(a, b)
        nodes.append([int(tree.feature[i]) | height << 16, downwards(tree.threshold[i]), left, right])
        return len(nodes) - 1, height

    for tree in trees:
        roots.append(place(tree.tree_, 0)[0])
    return nodes, roots, leaves


def line(name, shift, model, leaf, x):
    nodes, roots, leaves = forest(model.estimators_, leaf, shift)
    predict = getattr(model, "predict_proba", model.predict)
    y = np.asarray(predict(x)).reshape(-1).tolist()
    lists = {"nodes": sum(nodes, []), "roots": roots, "leaves": sum(leaves, []),
             "x": x.reshape(-1).tolist(), "y": y}
    text = " ".join(f"{key}={','.join(map(repr, values))}" for key, values in lists.items())
    print(f"{name} features={x.shape[1]} n={len(leaves[0])} shift={shift} {text}")


x, y = load_iris(return_X_y=True)
x = x.astype(np.float32)
model = RandomForestClassifier(3, max_depth=3, random_state=4).fit(x, y)
line("classes", 30, model, lambda v: v / v.sum(), x[[0, 60, 70, 77, 106, 119, 133, 138]])
x, y = make_regression(80, 3, noise=5, random_state=2)
x = x.astype(np.float32)
model = RandomForestRegressor(4, max_depth=3, random_state=4).fit(x, y)
line("numbers", 20, model, lambda v: v, x[:6])
