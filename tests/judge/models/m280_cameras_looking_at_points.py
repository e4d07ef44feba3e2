"""Bundle adjustment: cameras (turned, shifted, focal length, distortion) and points seen in pictures; Cauchy's loss."""

import numpy as np
import torch

from tests.judge.corpus import right, wrong


def reference(params, seen, camera, point):
    pose = params["cameras"][camera]
    X = params["points"][point]
    w, t, f, k = pose[:, :3], pose[:, 3:6], pose[:, 6:7], pose[:, 7:8]
    theta = w.norm(dim=1, keepdim=True)
    axis = w / theta
    along = (axis * X).sum(dim=1, keepdim=True)
    turned = X * torch.cos(theta) + torch.linalg.cross(axis, X) * torch.sin(theta)
    p = turned + axis * along * (1 - torch.cos(theta)) + t
    flat = -p[:, :2] / p[:, 2:]
    n = (flat**2).sum(dim=1, keepdim=True)
    r2 = ((f * (1 + k * n) * flat - seen) ** 2).sum(dim=1)
    prior = 0.5 * 0.3 * (params["cameras"][:, 7] ** 2).sum()
    return {"seen": (0.5 * 0.7**2 * torch.log(1 + r2 / 0.7**2)).mean(), "distortion": prior}


def make_camera(vec):
    class Camera:
        """w: axis times angle, t: shift, f: focal length, k: radial distortion (as in the BAL data)."""

        def __init__(self):
            self.w, self.t, self.f, self.k = vec[0:3], vec[3:6], vec[6], vec[7]
            self.theta = np.sqrt(self.w @ self.w)
            self.axis = self.w / self.theta

        def project(self, X):
            c, s = np.cos(self.theta), np.sin(self.theta)
            self.X = X
            self.cross = np.cross(self.axis, X)
            self.along = self.axis @ X
            self.P = c * X + s * self.cross + (1 - c) * self.along * self.axis + self.t
            self.xy = -self.P[:2] / self.P[2]
            self.n = self.xy @ self.xy
            self.scale = 1 + self.k * self.n
            return self.f * self.scale * self.xy

        def backproject(self, duv):
            c, s = np.cos(self.theta), np.sin(self.theta)
            g = np.zeros(8)
            g[6] = self.scale * (duv @ self.xy)
            dscale = self.f * (duv @ self.xy)
            g[7] = dscale * self.n
            dxy = self.f * self.scale * duv + 2 * dscale * self.k * self.xy
            dP = np.zeros(3)
            dP[:2] = -dxy / self.P[2]
            dP[2] = -(dxy @ self.xy) / self.P[2]
            g[3:6] = dP
            ga = dP @ self.axis
            dc = dP @ self.X - self.along * ga
            ds = dP @ self.cross
            daxis = s * np.cross(self.X, dP) + (1 - c) * (self.along * dP + ga * self.X)
            dtheta = c * ds - s * dc
            g[0:3] = (daxis - self.axis * (self.axis @ daxis)) / self.theta + self.axis * dtheta
            dX = c * dP + s * np.cross(dP, self.axis) + (1 - c) * ga * self.axis
            return g, dX

    return Camera()


def candidate(params, seen, camera, point):
    cams, pts = params["cameras"], params["points"]
    C2, lam = 0.7**2, 0.3
    N = len(seen)
    views, errors, squares = [], [], np.zeros(N)
    for i in range(N):
        view = make_camera(cams[camera[i]])
        e = view.project(pts[point[i]]) - seen[i]
        squares[i] = e @ e
        views.append(view)
        errors.append(e)
    loss = np.mean(0.5 * C2 * np.log1p(squares / C2)) + 0.5 * lam * np.sum(cams[:, 7] ** 2)

    dcams = np.zeros_like(cams)
    dpts = np.zeros_like(pts)
    for i in range(N):
        rho = 1.0 / (1.0 + squares[i] / C2)
        dcam, dpt = views[i].backproject(rho * errors[i] / N)
        dcams[camera[i]] += dcam
        dpts[point[i]] += dpt
    dcams[:, 7] += lam * cams[:, 7]
    return loss, {"cameras": dcams, "points": dpts}


def problem(rng):
    camera = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    point = np.array([0, 1, 2, 3, 0, 2, 3, 4, 4, 1, 3, 0])
    params = {
        "cameras": np.column_stack(
            [
                rng.normal(size=(3, 3)) * 0.5,
                rng.normal(size=(3, 2)) * 0.4,
                rng.uniform(-4.5, -3.5, size=3),
                rng.uniform(1.4, 2.2, size=3),
                rng.uniform(0.2, 0.6, size=3),
            ]
        ),
        "points": rng.normal(size=(5, 3)),
    }
    return params, (rng.normal(size=(12, 2)) * 0.7, camera, point)


WRONG = [
    wrong(
        "robust_weight_forgotten",
        "missing-derivative|different-function|wrong-operand",
        "backproject(rho * errors[i] / N)",
        "backproject(errors[i] / N)",
    ),
    wrong(
        "robust_weight_of_the_length_not_its_square",
        "different-function|wrong-operand|derivative-at-wrong-point",
        "rho = 1.0 / (1.0 + squares[i] / C2)",
        "rho = 1.0 / (1.0 + np.sqrt(squares[i]) / C2)",
    ),
    wrong(
        "point_overwritten_by_its_last_view",
        "overwritten|last-step-only",
        "dpts[point[i]] += dpt",
        "dpts[point[i]] = dpt",
    ),
    wrong(
        "depth_not_felt_by_the_division",
        "missing-path",
        "            dP[2] = -(dxy @ self.xy) / self.P[2]\n",
        "",
    ),
    wrong(
        "depth_divided_with_the_wrong_sign",
        "wrong-sign",
        "dP[2] = -(dxy @ self.xy) / self.P[2]",
        "dP[2] = (dxy @ self.xy) / self.P[2]",
    ),
    wrong(
        "radius_in_the_distortion_held_constant",
        "missing-path",
        "dxy = self.f * self.scale * duv + 2 * dscale * self.k * self.xy",
        "dxy = self.f * self.scale * duv",
    ),
    wrong(
        "factor_two_of_the_squared_radius_forgotten",
        "wrong-scale|missing-derivative|different-function",
        "+ 2 * dscale * self.k * self.xy",
        "+ dscale * self.k * self.xy",
    ),
    wrong(
        "axis_not_projected_off_itself",
        "missing-path",
        "(daxis - self.axis * (self.axis @ daxis)) / self.theta",
        "daxis / self.theta",
    ),
    wrong(
        "angle_not_felt",
        "missing-path",
        "            g[0:3] = (daxis - self.axis * (self.axis @ daxis)) / self.theta + self.axis * dtheta\n",
        "            g[0:3] = (daxis - self.axis * (self.axis @ daxis)) / self.theta\n",
    ),
    wrong(
        "points_turned_instead_of_turned_back",
        "wrong-sign|not-transposed|transposed|flipped",
        "np.cross(dP, self.axis)",
        "np.cross(self.axis, dP)",
    ),
    wrong(
        "distortion_told_the_radius_not_squared",
        "wrong-operand|different-function",
        "g[7] = dscale * self.n",
        "g[7] = dscale * np.sqrt(self.n)",
    ),
    wrong(
        "pictures_not_turned_over_in_both",
        "different-function|wrong-sign",
        "self.xy = -self.P[:2] / self.P[2]",
        "self.xy = self.P[:2] / self.P[2]",
        "dP[:2] = -dxy / self.P[2]",
        "dP[:2] = dxy / self.P[2]",
    ),
    wrong(
        "smooth_square_root_in_both",
        "different-function",
        "np.mean(0.5 * C2 * np.log1p(squares / C2))",
        "np.mean(C2 * (np.sqrt(1 + squares / C2) - 1))",
        "rho = 1.0 / (1.0 + squares[i] / C2)",
        "rho = 1.0 / np.sqrt(1.0 + squares[i] / C2)",
    ),
    wrong(
        "half_of_the_robust_cost_forgotten",
        "wrong-loss",
        "np.mean(0.5 * C2 * np.log1p(squares / C2))",
        "np.mean(C2 * np.log1p(squares / C2))",
    ),
]

TOGETHER = [
    ("robust_weight_forgotten", "point_overwritten_by_its_last_view"),
    ("depth_not_felt_by_the_division", "angle_not_felt"),
    ("radius_in_the_distortion_held_constant", "axis_not_projected_off_itself"),
    ("factor_two_of_the_squared_radius_forgotten", "points_turned_instead_of_turned_back"),
    ("distortion_told_the_radius_not_squared", "depth_divided_with_the_wrong_sign"),
    ("smooth_square_root_in_both", "angle_not_felt"),
    ("half_of_the_robust_cost_forgotten", "points_turned_instead_of_turned_back"),
    ("robust_weight_of_the_length_not_its_square", "axis_not_projected_off_itself"),
    ("point_overwritten_by_its_last_view", "distortion_told_the_radius_not_squared", "angle_not_felt"),
    ("robust_weight_forgotten", "depth_not_felt_by_the_division", "points_turned_instead_of_turned_back"),
]

RIGHT = [
    right(
        "points_turned_back_by_a_matrix",
        "            dX = c * dP + s * np.cross(dP, self.axis) + (1 - c) * ga * self.axis\n",
        "            a, b, d = self.axis\n"
        "            K = np.array([[0, -d, b], [d, 0, -a], [-b, a, 0]])\n"
        "            R = np.eye(3) + s * K + (1 - c) * K @ K\n"
        "            dX = R.T @ dP\n",
    ),
    right(
        "weights_at_once_and_sums_by_add_at",
        "        rho = 1.0 / (1.0 + squares[i] / C2)\n        dcam, dpt = views[i].backproject(rho * errors[i] / N)\n",
        "        dcam, dpt = views[i].backproject(C2 / (C2 + squares[i]) * errors[i])\n",
        "        dcams[camera[i]] += dcam\n        dpts[point[i]] += dpt\n",
        "        np.add.at(dcams, camera[i], dcam / N)\n        np.add.at(dpts, point[i], dpt / N)\n",
    ),
]
