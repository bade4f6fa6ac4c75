"""What samples of a Gaussian boson sampler are good for: dense subgraphs, cliques, graph similarity, vibronic spectra; and rivals."""
