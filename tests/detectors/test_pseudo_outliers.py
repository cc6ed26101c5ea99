"""Pseudo-outliers: what each strategy does to an image, and that it needs only images."""

import pytest
import torch

from lamae_tutorial.detectors.pseudo_outliers import MIXTURE, STRATEGIES, find_strategy, make_outliers

IMAGES = torch.rand(64, 3, 16, 12, generator=torch.Generator().manual_seed(0))


def made(name: str, images: torch.Tensor = IMAGES) -> torch.Tensor:
    return STRATEGIES[name](images, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [*STRATEGIES, MIXTURE])
def test_every_strategy_spoils_each_image_and_repeats_with_its_generator(name: str) -> None:
    before = IMAGES.clone()
    one, same = (make_outliers(name, IMAGES, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, same) and torch.equal(IMAGES, before)
    assert one.shape == IMAGES.shape and one.min() >= 0 and one.max() <= 1
    assert ((one - IMAGES).abs().flatten(1).mean(1) > 0.01).all()
    state = torch.get_rng_state()
    if name != "inversion":
        assert not torch.equal(make_outliers(name, IMAGES), make_outliers(name, IMAGES))
        assert not torch.equal(torch.get_rng_state(), state), "without a generator the global one is used"


def test_noise_has_the_width_that_is_documented() -> None:
    flat = torch.full((400, 1, 16, 16), 0.5)
    deviations = (made("gaussian_noise", flat) - flat).flatten(1).std(1)
    assert 0.25 < deviations.min() < 0.4 < 0.9 < deviations.max() < 1.15
    changed = (made("salt_and_pepper", flat) != flat).flatten(1).float().mean(1)
    assert 0.03 < changed.min() < 0.2 < 0.4 < changed.max() < 0.6
    assert set(made("salt_and_pepper", flat).unique().tolist()) == {0.0, 0.5, 1.0}
    widths = made("uniform_noise", flat).flatten(1).std(1) * 12**0.5
    assert 0.4 < widths.min() < 0.6 < 0.9 < widths.max() < 1.1


def test_blur_keeps_flat_images_and_lowers_the_detail() -> None:
    flat = torch.full((4, 1, 16, 16), 0.3)
    torch.testing.assert_close(made("blur", flat), flat)
    assert (made("blur").flatten(1).std(1) < 0.6 * IMAGES.flatten(1).std(1)).all()


def test_permutation_moves_whole_patches_and_leaves_the_remainder() -> None:
    images = torch.arange(2 * 9 * 13).float().view(2, 1, 9, 13)  # patches of 2 x 3 pixels, and a border of 1 pixel
    moved = made("patch_permutation", images)
    assert torch.equal(moved.flatten(1).sort().values, images.flatten(1))
    assert torch.equal(moved[:, :, 8:], images[:, :, 8:]) and torch.equal(moved[:, :, :, 12:], images[:, :, :, 12:])
    for row, column in ((0, 0), (4, 9)):
        patch = moved[0, 0, row : row + 2, column : column + 3]
        assert torch.equal(patch - patch[0, 0], torch.tensor([[0.0, 1, 2], [13, 14, 15]]))
    with pytest.raises(ValueError, match="images of at least 4 x 4 pixels; got 3 x 8"):
        made("patch_permutation", torch.rand(2, 1, 3, 8))


def test_mixing_and_pasting_take_from_another_image_of_the_batch() -> None:
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 16, 16)
    mixed = made("mixing", images)
    assert ((mixed[0] >= 0.3) & (mixed[0] <= 0.7)).all() and mixed[0].std() < 1e-6
    pasted = made("cut_paste", images)[0, 0]
    rows, columns = pasted.amax(1).sum(), pasted.amax(0).sum()
    assert 4 <= rows <= 12 and 4 <= columns <= 12 and pasted.sum() == rows * columns, "one rectangle"


def test_inversion_and_contrast_by_hand() -> None:
    torch.testing.assert_close(made("inversion"), 1 - IMAGES)
    factors = made("contrast").flatten(1).std(1) / IMAGES.flatten(1).std(1)
    lower = factors < 1
    assert 0.3 < lower.float().mean() < 0.7
    assert factors[lower].max() <= 0.4 and factors[~lower].min() >= 3 and factors.max() <= 20
    torch.testing.assert_close(made("contrast").mean((1, 2, 3)), IMAGES.mean((1, 2, 3)), rtol=0, atol=1e-5)


def test_a_mixture_draws_a_strategy_for_each_image() -> None:
    mixed = find_strategy(["inversion", "mixing"])(IMAGES, torch.Generator().manual_seed(0))
    inverted = (mixed == 1 - IMAGES).flatten(1).all(1)
    assert 20 < inverted.sum() < 44


def test_a_function_of_ones_own_is_clipped_and_its_shape_is_checked() -> None:
    assert make_outliers(lambda images, generator: images + 2, IMAGES).unique().tolist() == [1.0]
    with pytest.raises(ValueError, match=r"of the shape \(64, 3, 16, 12\); got \(64, 3, 16, 2\)"):
        make_outliers(lambda images, generator: images[..., :2], IMAGES)


@pytest.mark.parametrize("wanted", ["noise", [], ["blur", "noise"], ["mixture", "blur"]])
def test_unknown_names_are_refused(wanted) -> None:
    with pytest.raises(ValueError, match=r"one or more of gaussian_noise, .*; got"):
        find_strategy(wanted)
