"""Studies over months and constellations: how much key which pairs of nodes would have, through clouds and seasons."""
