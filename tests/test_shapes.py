"""The page's triangles are where MuJoCo's shapes are, in their sizes and colours, and few enough."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest
import trimesh
from models import mjcf
from scipy.spatial import cKDTree

from hybrid_ik.apps.clustering import cluster_size, clustered
from hybrid_ik.apps.outline import geom_colour
from hybrid_ik.apps.shapes import ghost_parts, solid_parts, visible_parts

PRIMITIVES = {
    "<geom type='box' size='.1 .2 .3'": (8 * 0.006, (0.1, 0.2, 0.3)),
    "<geom type='sphere' size='.2'": (4 / 3 * np.pi * 0.008, (0.2, 0.2, 0.2)),
    "<geom type='ellipsoid' size='.1 .2 .3'": (4 / 3 * np.pi * 0.006, (0.1, 0.2, 0.3)),
    "<geom type='cylinder' size='.1 .3'": (np.pi * 0.01 * 0.6, (0.1, 0.1, 0.3)),
    "<geom type='capsule' size='.1 .3'": (np.pi * 0.01 * 0.6 + 4 / 3 * np.pi * 0.001, (0.1, 0.1, 0.4)),
}


def _model(geoms, rest=""):
    return mujoco.MjModel.from_xml_string(mjcf(f"<body><joint/><geom size='.01'/>{geoms}</body>", rest))


@pytest.mark.parametrize("geom", PRIMITIVES)
def test_primitives_have_the_size_and_volume_that_mujoco_gives_them(geom):
    volume, half = PRIMITIVES[geom]
    part = visible_parts(_model(f"{geom} rgba='.1 .2 .3 1'/>"))[1]
    assert np.allclose(part.vertices.max(0), half, rtol=0.02) and np.allclose(
        part.vertices.min(0), -np.array(half), rtol=0.02
    )
    mesh = trimesh.Trimesh(part.vertices, part.faces)
    assert mesh.is_watertight and mesh.volume == pytest.approx(volume, rel=0.03)
    assert part.body == 1 and part.rgba == pytest.approx((0.1, 0.2, 0.3, 1.0))


def test_geoms_lie_in_the_frame_of_their_body():
    part = visible_parts(_model("<geom type='box' size='.1 .2 .3' pos='1 2 3' euler='0 0 1.5707963'/>"))[1]
    assert np.allclose(part.vertices.max(0) - [1, 2, 3], [0.2, 0.1, 0.3])


def test_what_mujoco_hides_is_left_out():
    assert len(visible_parts(_model("<geom size='.1' group='3'/><geom size='.1' rgba='1 1 1 0'/>"))) == 1
    assert not visible_parts(mujoco.MjModel.from_xml_string(mjcf("<geom type='plane' size='1 1 1'/>")))


def test_colours_are_those_that_mujoco_draws():
    geoms = "<geom size='.1' material='red'/><geom size='.1' material='red' rgba='0 0 1 1'/>"
    model = _model(geoms, "<asset><material name='red' rgba='1 0 0 .5'/></asset>")
    scene = mujoco.MjvScene(model, 10)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    mujoco.mjv_addGeoms(model, data, mujoco.MjvOption(), mujoco.MjvPerturb(), mujoco.mjtCatBit.mjCAT_ALL, scene)
    for drawn in scene.geoms[: scene.ngeom]:
        assert geom_colour(model, drawn.objid) == pytest.approx(drawn.rgba.tolist())


def test_meshes_of_full_models_lie_where_mujoco_puts_their_geoms(robot):
    model = robot.drawable_model()
    if not model.nmesh:
        pytest.skip(f"{robot.name} has no meshes")
    data = mujoco.MjData(model)
    data.qpos = robot.model_qpos(robot.home)
    mujoco.mj_kinematics(model, data)
    shown = [g for g in range(model.ngeom) if model.geom_group[g] <= 2 and geom_colour(model, g)[3] > 0]
    for part, geom in zip(visible_parts(model), shown, strict=True):
        if model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_MESH:
            continue
        mesh = model.geom_dataid[geom]
        own = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
        wanted = own @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        world = part.vertices @ data.xmat[part.body].reshape(3, 3).T + data.xpos[part.body]
        assert np.abs(world - wanted).max() < 1e-6


def test_arms_have_few_corners_and_lie_near_their_shapes(robot):
    model = robot.drawable_model()
    solid, ghosts = solid_parts(robot, model), ghost_parts(robot, model)
    assert sum(len(part.vertices) for part in solid) <= 60_000
    assert sum(len(part.vertices) for part in ghosts) <= 12_000
    assert {part.body for part in ghosts} == {part.body for part in solid if model.body_weldid[part.body]}
    for ghost in ghosts:
        whole = np.concatenate([part.vertices for part in visible_parts(model) if part.body == ghost.body])
        far, _ = cKDTree(whole).query(ghost.vertices)
        assert far.max() < 0.02 and (ghost.faces < len(ghost.vertices)).all()
        assert np.allclose(ghost.vertices.min(0), whole.min(0), atol=0.015)
        assert np.allclose(ghost.vertices.max(0), whole.max(0), atol=0.015)


def test_clustering_keeps_a_shape_while_corners_go():
    ball = trimesh.creation.icosphere(subdivisions=5)
    cell = cluster_size([ball.vertices], 1000)
    vertices, faces = clustered(np.asarray(ball.vertices), np.asarray(ball.faces, np.int64), cell)
    assert 500 < len(vertices) <= 1000 < len(ball.vertices)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 1).max() < 0.02
    assert trimesh.Trimesh(vertices, faces).volume == pytest.approx(ball.volume, rel=0.02)
    assert cluster_size([ball.vertices], 10**6) == 0


def test_flat_faces_and_edges_of_a_box_stay_where_they_are():
    box = trimesh.creation.box(extents=(1, 1, 1)).subdivide_loop(0).subdivide().subdivide().subdivide().subdivide()
    vertices, faces = clustered(np.asarray(box.vertices), np.asarray(box.faces, np.int64), 0.21)
    assert len(vertices) < len(box.vertices) / 4
    assert trimesh.Trimesh(vertices, faces).volume == pytest.approx(1.0, rel=0.02)
