"""The protocols of the segment, of blocks that other threads free and of the gate before fork hold in every order of
steps, by the model checker spin; and the models notice when a part of a protocol is left out."""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import unittest

import harness
from harness import need

MODELS = harness.SOURCE / "tests" / "protocols"


@need("spin", "gcc")
class Protocols(harness.HakmemTest):
    def check(self, model, *broken):
        """Errors that an exhaustive search finds, and the states that it looked at."""
        folder = self.new_directory()
        for command in (["spin", *broken, "-a", MODELS / f"{model}.pml"],
                        ["gcc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
        # A state in which threads wait for a killed one is an end too.
        said = subprocess.run(["./pan", "-E", "-m100000"], cwd=folder, text=True, capture_output=True, timeout=60).stdout
        self.assertNotIn("max search depth", said)
        return int(re.search(r"errors: (\d+)", said)[1]), int(float(re.search(r"(\S+) states, stored", said)[1]))

    def test_hold(self):
        for model in ("control", "incidents", "handover", "gate"):
            errors, states = self.check(model)
            self.assertEqual(errors, 0, model)
            self.assertGreater(states, 1000, model)
            print(f"  {model}: {states} states", file=sys.stderr)

    def test_what_is_left_out_is_noticed(self):
        for model, broken in (("control", "-DOVERTAKEN"), ("incidents", "-DUNCHECKED"), ("incidents", "-DEARLY"),
                              ("incidents", "-DIMPATIENT"), ("handover", "-DLATE"), ("handover", "-DUNPINNED"),
                              ("handover", "-DTRUSTING"), ("handover", "-DEARLY"), ("gate", "-DAPART")):
            self.assertEqual(self.check(model, broken)[0], 1, broken)


if __name__ == "__main__":
    harness.main()
