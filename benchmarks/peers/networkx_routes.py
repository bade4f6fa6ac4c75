"""Milliseconds that networkx takes for a route after a change of one link's price: first argument, a file of links and questions."""

import json
import sys
import time
from pathlib import Path

import networkx

work = json.loads(Path(sys.argv[1]).read_text())
graph = networkx.Graph()
graph.add_weighted_edges_from(work["links"])
start = time.process_time()
for source, target, (a, b, price) in work["questions"]:
    graph[a][b]["weight"] = price
    networkx.bidirectional_dijkstra(graph, source, target)
print(1e3 * (time.process_time() - start) / len(work["questions"]))
