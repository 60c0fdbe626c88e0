"""Place-holder import until the numpy form lands."""

from evenkeel.check.kernel import expand as expand
