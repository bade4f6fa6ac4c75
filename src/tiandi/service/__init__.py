"""Cryptographic applications: customers of the network, who know it only by `tiandi.kms.client`."""
