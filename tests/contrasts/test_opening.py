import numpy as np
import pytest
from PIL import Image

from xaiserve.contrast_use import contrasts_for
from xaiserve.contrasts.base import ContrastProvider
from xaiserve.contrasts.opening import ContrastSettings, open_provider, settings_of
from xaiserve.errors import InvalidInputError, NotFoundError
from xaiserve.explainers.registry import make_explainer
from xaiserve.testing.toys import brightness_classifier, toy_image
from xaiserve.testing.translators import ShadeTranslator, write_tiny_translator

MODEL = brightness_classifier(toy_image(), 0.4)


@pytest.fixture
def place(tmp_path):
    for label in ("nothing", "evidence"):
        (tmp_path / label).mkdir()
        Image.fromarray(np.zeros((24, 24, 3), np.uint8)).save(tmp_path / label / "x.png")
    return tmp_path


def opened(contrast=None, translator=None, options=None, **given):
    settings = settings_of(contrast, translator, options)
    assert settings is not None
    return open_provider(settings, MODEL.spec, MODEL.scores, **given)


@pytest.mark.parametrize(
    "text", ["blur", "inpaint", "inpaint:PLACE", "nearest:PLACE", "file:PLACE"]
)
def test_every_kind_opens_and_is_a_provider_with_a_digest_of_its_own(place, text):
    provider = opened(text.replace("PLACE", str(place)))

    assert isinstance(provider, ContrastProvider)
    assert provider.name == text.partition(":")[0]
    assert len(provider.digest) == 64


def test_a_translator_is_loaded_once_by_its_place():
    asked = []

    def load(place, *, device):
        asked.append((place, device))
        return ShadeTranslator()

    provider = opened(translator="folder/gan", device="cuda", load=load)

    assert (provider.name, provider.title, asked) == ("gan", "gan", [("folder/gan", "cuda")])


def test_a_translators_folder_is_loaded(tmp_path):
    write_tiny_translator(tmp_path, ("nothing", "evidence"))

    assert opened(translator=str(tmp_path)).translator.labels == ("nothing", "evidence")


@pytest.mark.parametrize("text", ["", "nearest", "nearest:", "file", "blur:x", "gan", "telea"])
def test_what_is_no_contrast_is_refused_with_all_that_are(text):
    with pytest.raises(InvalidInputError, match="nearest:POOL, file:PAIR, blur, inpaint"):
        ContrastSettings(contrast=text)


def test_both_or_options_for_nothing_are_refused():
    with pytest.raises(InvalidInputError, match="got both"):
        settings_of("blur", "folder")
    with pytest.raises(InvalidInputError, match="option low of contrast pictures"):
        settings_of(None, None, {"low": "0.1"})
    assert settings_of(None, None) is None


def test_an_option_of_another_provider_or_out_of_range_is_refused(place):
    with pytest.raises(InvalidInputError, match="contrast blur: low is not a parameter"):
        opened("blur", options={"low": "0.1"})
    with pytest.raises(InvalidInputError, match="contrast nearest: low must be a number from 0"):
        opened(f"nearest:{place}", options={"low": "2"})


def test_places_that_do_not_exist_are_not_found(tmp_path):
    for text in ("nearest:", "file:", "inpaint:"):
        with pytest.raises(NotFoundError):
            opened(f"{text}{tmp_path / 'absent'}")
    with pytest.raises(NotFoundError):
        opened(translator=str(tmp_path / "absent"))


def test_only_the_embedded_model_brings_its_own_translator_and_only_where_one_is_needed():
    clear, occlusion = make_explainer("clear-image"), make_explainer("occlusion")
    blur = ContrastSettings(contrast="blur")
    assert contrasts_for([clear], None, "embedded") == ContrastSettings(translator="embedded")
    assert contrasts_for([clear], blur, "embedded") == blur
    assert contrasts_for([clear], None, "models/mine") is None
    assert contrasts_for([occlusion], None, "embedded") is None
