"""Programs of joint computations on energy data; each is named "unlearn.privacy.mpc.programs.MODULE:FUNCTION"."""
