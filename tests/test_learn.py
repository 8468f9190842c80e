"""What the stages of a study hang on: the numbers that they read, the files that train."""

from dataclasses import replace

import pytest

from hairtrigger.pipeline import stage_key
from hairtrigger.runs.learn import sources_of, training_sources, training_stages
from hairtrigger.studies import muon


def test_a_price_of_bits_leaves_the_teacher_as_it_is():
    def keys(**changes):
        preset = replace(muon.DEMO, **changes)
        stages = training_stages(muon.STUDY, preset, 1)
        return {s.name: stage_key(s, dict.fromkeys(s.after, "same")) for s in stages}

    def changed(**changes):
        return [name for name, key in keys(**changes).items() if key != keys()[name]]

    assert changed(beta=(1e-8, 1e-7)) == ["student"]
    assert changed(teacher_share=0.9) == ["float_student", "student"]
    assert changed(teacher_epochs=9) == ["teacher"]
    assert changed(test_events=9) == ["simulate"]  # the others follow by what it leaves
    seen, _ = muon.STUDY.seen_by("teacher", muon.DEMO)
    with pytest.raises(AttributeError):
        _ = seen.beta


def test_training_does_not_hang_on_how_networks_are_judged():
    names = training_sources(muon.STUDY)
    assert "studies/muon_train.py" in names
    assert not {"studies/muon_calibration.py", "studies/muon_presets.py"} & set(names)
    assert set(names) < set(sources_of(muon.STUDY))
