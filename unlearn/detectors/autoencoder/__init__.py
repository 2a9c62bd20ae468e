"""An LSTM autoencoder, the baseline of its kind."""
