"""The words that tables, pages and messages use, in plain sentences; the page and `list glossary` show them."""

TERMS = {
    "anomalous": "An image with a defect. In every metric, anomalous is the positive class.",
    "calibration": "Images set aside from training and testing, on which the threshold is chosen.",
    "floor": "A trivial method (random, brightness, pixel_knn). A method that is worth its cost does better.",
    "fold": "One of several splits of the same images; each fold tests on other images or on other defect types.",
    "interval": "Other test images would give another number; 95 % of such intervals hold the true one.",
    "job": "One fit: a method on one category with one split and one seed. Thresholds and metrics are measured on it.",
    "latency": "Milliseconds from one decoded image by itself to its score and map: half of the images take less than "
    "the median (p50), 95 % take less than p95.",
    "model": "A fitted method with all that it takes to use it: weights, input, threshold and where they come from.",
    "not above a floor": "It is not shown that the method does better, by ROC AUC, than each floor on these images.",
    "oracle": "The best threshold, picked on the test images themselves. It shows what was possible; it is no result.",
    "protocol": "The rule by which the images become train, calibration and test parts.",
    "says nothing": "Too few test images to judge a method by. Such a row has no rank and stands last.",
    "seed": "The number that random choices start from: the split and the training.",
    "suite": "A list of jobs under one name: which methods on which images.",
    "threshold": "An image is called anomalous if its score is greater than this number.",
    "tied with the best": "On these test images, the method cannot be told from the one with the highest ROC AUC. It "
    "can still be above every floor, one of which is tied as well: a tie weighs all methods at once and in both "
    "directions; the test against a floor is of one pair in one direction, and so it shows smaller differences.",
}
