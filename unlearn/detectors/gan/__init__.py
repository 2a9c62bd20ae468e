"""The LSTM-GAN and its latent inversion."""
