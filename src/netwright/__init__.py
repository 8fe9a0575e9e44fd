"""Netwright builds neural networks by learning distributions over their graphs.

The names below can be imported from here; each is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netwright.evaluation import Evaluation, Evaluator
    from netwright.evaluators.cached import Cached
    from netwright.evaluators.isolated import Isolated
    from netwright.evaluators.table import TableEvaluator
    from netwright.evaluators.train import DIGITS_RECIPE, TrainEvaluator
    from netwright.evaluators.training import Recipe
    from netwright.generators.arch2vec import Arch2Vec
    from netwright.generators.dgmg import dgmg
    from netwright.generators.dvae import DVAE
    from netwright.generators.fit import Fit
    from netwright.generators.graphpnas import GraphPNAS
    from netwright.generators.random_graph import RandomGraph
    from netwright.generators.svge import SVGe
    from netwright.graphs.batch import ArchitectureBatch
    from netwright.graphs.layout import Layout
    from netwright.images.digits import digits
    from netwright.images.folder import folder
    from netwright.networks.nasbench101 import nasbench101_network
    from netwright.networks.nasbench201 import nasbench201_network
    from netwright.rng import stream
    from netwright.runs.fits import FitRun
    from netwright.runs.run import Run
    from netwright.searchers.base import Proposals, Searcher
    from netwright.searchers.latent import LatentSearch
    from netwright.searchers.random import RandomSearch
    from netwright.searchers.reinforce import Reinforce
    from netwright.spaces.base import SearchSpace
    from netwright.spaces.enas import ENAS
    from netwright.spaces.nasbench101 import NASBench101
    from netwright.spaces.nasbench201 import NASBench201
    from netwright.spaces.nats_pruned import NATSPruned
    from netwright.spaces.toy import Toy
    from netwright.surrogates.latent import LatentPredictor
    from netwright.tables.format import Table

__version__ = "0.1.0"

_HOME = {
    "Arch2Vec": "generators.arch2vec",
    "ArchitectureBatch": "graphs.batch",
    "Cached": "evaluators.cached",
    "DIGITS_RECIPE": "evaluators.train",
    "DVAE": "generators.dvae",
    "ENAS": "spaces.enas",
    "Evaluation": "evaluation",
    "Evaluator": "evaluation",
    "Fit": "generators.fit",
    "FitRun": "runs.fits",
    "GraphPNAS": "generators.graphpnas",
    "Isolated": "evaluators.isolated",
    "LatentPredictor": "surrogates.latent",
    "LatentSearch": "searchers.latent",
    "Layout": "graphs.layout",
    "NASBench101": "spaces.nasbench101",
    "NASBench201": "spaces.nasbench201",
    "NATSPruned": "spaces.nats_pruned",
    "Proposals": "searchers.base",
    "RandomGraph": "generators.random_graph",
    "RandomSearch": "searchers.random",
    "Recipe": "evaluators.training",
    "Reinforce": "searchers.reinforce",
    "Run": "runs.run",
    "SVGe": "generators.svge",
    "SearchSpace": "spaces.base",
    "Searcher": "searchers.base",
    "Table": "tables.format",
    "TableEvaluator": "evaluators.table",
    "Toy": "spaces.toy",
    "TrainEvaluator": "evaluators.train",
    "dgmg": "generators.dgmg",
    "digits": "images.digits",
    "folder": "images.folder",
    "nasbench101_network": "networks.nasbench101",
    "nasbench201_network": "networks.nasbench201",
    "stream": "rng",
}

__all__ = [
    "DIGITS_RECIPE",
    "DVAE",
    "ENAS",
    "Arch2Vec",
    "ArchitectureBatch",
    "Cached",
    "Evaluation",
    "Evaluator",
    "Fit",
    "FitRun",
    "GraphPNAS",
    "Isolated",
    "LatentPredictor",
    "LatentSearch",
    "Layout",
    "NASBench101",
    "NASBench201",
    "NATSPruned",
    "Proposals",
    "RandomGraph",
    "RandomSearch",
    "Recipe",
    "Reinforce",
    "Run",
    "SVGe",
    "SearchSpace",
    "Searcher",
    "Table",
    "TableEvaluator",
    "Toy",
    "TrainEvaluator",
    "dgmg",
    "digits",
    "folder",
    "nasbench101_network",
    "nasbench201_network",
    "stream",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'netwright' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"netwright.{_HOME[name]}"), name)
    globals()[name] = value
    return value
