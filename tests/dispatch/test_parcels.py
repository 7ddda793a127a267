import pickle

import pytest
import torch

from xaiserve.dispatch.parcels import Kept, Sender, Shelf
from xaiserve.perturb.query import Blend, Boxes, Mix, Pixels, Ranked, Scene
from xaiserve.testing.toys import toy_image

IMAGE = toy_image(8)
LABELS = torch.arange(8).repeat_interleave(8).view(8, 8) // 2
RANK = torch.arange(64).flip(0).view(8, 8)


def scene():
    return Scene(IMAGE, torch.zeros_like(IMAGE))


def mix(of, rows=3, labels=LABELS, *, alone=False):
    return Mix(of, labels, torch.eye(4, dtype=torch.bool)[:rows], alone)


def boxes(of):
    return Boxes(of, torch.tensor([[0, 2, 0, 8], [4, 8, 4, 8]]), torch.tensor([0, 1]), 2)


def travelled(parcel):
    return pickle.loads(pickle.dumps(parcel, protocol=5))  # noqa: S301 -- our own bytes


def weights(leaf):
    out = torch.empty(len(leaf), 8, 8)
    leaf.weigh(out)
    return out


@pytest.mark.parametrize(
    "make",
    [
        mix,
        boxes,
        lambda of: Ranked.prefixes(of, RANK, [0, 5, 64], alone=True),
        lambda of: Blend(of, torch.linspace(0, 1, 64).view(1, 8, 8)),
    ],
)
def test_a_leaf_arrives_as_it_was_sent(make):
    sent, shelf = make(scene()), Shelf()
    parcel = travelled(Sender().pack([sent]))
    assert not shelf.missing(parcel)
    (found,) = shelf.unpack(parcel)
    assert type(found) is type(sent)
    assert found.alone == sent.alone
    assert torch.equal(weights(found), weights(sent))
    assert torch.equal(found.scene.image, sent.scene.image)
    assert torch.equal(found.scene.fill, sent.scene.fill)


def test_finished_pictures_arrive_as_they_were_sent():
    parcel, shelf = travelled(Sender().pack([Pixels(IMAGE.unsqueeze(0))])), Shelf()
    shelf.missing(parcel)
    (found,) = shelf.unpack(parcel)
    assert torch.equal(found.images[0], IMAGE)


def test_scenes_labels_and_rankings_are_sent_once():
    sender, of = Sender(), scene()
    first = sender.pack([mix(of), Ranked.prefixes(of, RANK, [3])])
    again = sender.pack([mix(of, rows=1)[0:1], boxes(of)])
    assert len(first.things) == 3
    assert not again.things
    assert again.leaves[1].values["scene"] == first.leaves[0].values["scene"]
    assert isinstance(again.leaves[0].values["labels"], Kept)


def test_equal_scenes_that_are_not_the_same_have_numbers_of_their_own():
    assert len(Sender().pack([boxes(scene()), boxes(scene())]).things) == 2


def test_a_scene_that_is_gone_leaves_no_trace_at_the_sender():
    sender = Sender()
    for _ in range(3):
        sender.pack([boxes(scene())])
    assert not sender._sent


def test_a_worker_that_is_new_says_what_it_misses_and_gets_it():
    sender, of = Sender(), scene()
    sender.pack([mix(of)])
    shelf = Shelf()
    parcel = travelled(sender.pack([mix(of)]))
    assert shelf.missing(parcel) == parcel.numbers
    whole = travelled(sender.pack([mix(of)], whole=True))
    assert not shelf.missing(whole)
    assert torch.equal(weights(next(iter(shelf.unpack(whole)))), weights(mix(of)))


def test_forgetting_sends_everything_again():
    sender, of = Sender(), scene()
    sender.pack([boxes(of)])
    sender.forget()
    assert len(sender.pack([boxes(of)]).things) == 1


def test_the_longest_unused_scenes_are_dropped_and_those_at_hand_never():
    sender, scenes = Sender(), [scene() for _ in range(4)]
    one = 2 * IMAGE.numel() * 4
    shelf = Shelf(kept_bytes=2 * one)
    for of in scenes[:2]:
        assert not shelf.missing(sender.pack([boxes(of)]))
    assert not shelf.missing(sender.pack([boxes(scenes[0])]))
    assert not shelf.missing(sender.pack([boxes(scenes[2])]))
    assert shelf.missing(sender.pack([boxes(scenes[1])]))
    assert not shelf.missing(sender.pack([boxes(scenes[0])]))
    assert not shelf.missing(sender.pack([boxes(of) for of in scenes], whole=True))


def test_what_arrives_read_only_is_copied():
    parcel = travelled(Sender().pack([boxes(scene())]))
    for leaf in parcel.leaves:
        leaf.values["boxes"].flags.writeable = False
    shelf = Shelf()
    shelf.missing(parcel)
    next(iter(shelf.unpack(parcel))).boxes[0, 0] = 1
