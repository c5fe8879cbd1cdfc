#pragma once

#include <tenon/optim/adafactor_cuda.cuh>
#include <tenon/optim/adamw.hpp>
#include <tenon/optim/elementwise_cuda.cuh>
#include <tenon/optim/ema_cuda.cuh>
#include <tenon/optim/lion.hpp>
#include <tenon/optim/muon_cuda.cuh>
#include <tenon/optim/norm_cuda.cuh>
#include <tenon/optim/sgd.hpp>
