"""What a network decides by: attributions, how far they can be trusted, and questions of physics.

subject.py      what is explained: a number of a Keras model's or a Graph's answer
attribution.py  all methods: gradients.py, removal.py, shapley.py, relevance.py
groups.py       stations, planes, features, windows of strips
faithfulness.py whether the maps say what the network does
questions_*.py  what physicists ask of each study
units.py        what of a network can go; importance.py how much it matters, cost.py its LUTs
simplify.py     what goes first; bits.py the deployed Graph, bit by bit
surrogate.py    a tree or a formula instead, on features.py
"""
