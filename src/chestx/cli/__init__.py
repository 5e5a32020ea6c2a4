"""``chestx`` on the command line: one subcommand a public function, and no logic."""

from chestx.cli.app import main as main
