"""How good and how complete an unlearnt forecaster is, as tidy records."""
