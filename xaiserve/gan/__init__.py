"""The contrast GAN of CLEAR Image, DeScarGAN: two class branches, two critics, one step at a time.

J. Wolleb, R. Sandkühler, P. Cattin, *DeScarGAN: Disease-Specific Anomaly Detection with Weak
Supervision*, MICCAI 2020, arXiv 2007.14118. Pure torch: the loop over a cluster is in `pipelines`.
"""
