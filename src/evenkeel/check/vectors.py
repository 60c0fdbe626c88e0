from evenkeel.check.kernel import expand
