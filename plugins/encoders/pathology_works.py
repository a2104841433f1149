"""Works to cite for pathology encoders."""

UNI = (
    "Chen et al., Towards a General-Purpose Foundation Model for Computational Pathology, Nature "
    "Medicine 2024, doi:10.1038/s41591-024-02857-3"
)
PHIKON = (
    "Filiot et al., Scaling Self-Supervised Learning for Histopathology with Masked Image "
    "Modeling, medRxiv 2023, doi:10.1101/2023.07.21.23292757"
)
PHIKON_2 = (
    "Filiot et al., Phikon-v2, A Large and Public Feature Extractor for Biomarker Prediction, "
    "2024, arXiv:2409.09173"
)
VIRCHOW = (
    "Vorontsov et al., A Foundation Model for Clinical-Grade Computational Pathology and Rare "
    "Cancers Detection, Nature Medicine 2024, doi:10.1038/s41591-024-03141-0"
)
VIRCHOW_2 = (
    "Zimmermann et al., Virchow2: Scaling Self-Supervised Mixed Magnification Models in Pathology, "
    "2024, arXiv:2408.00738"
)
H_OPTIMUS_0 = (
    "Saillard et al., H-optimus-0, 2024, "
    "https://github.com/bioptimus/releases/tree/main/models/h-optimus/v0"
)
H_OPTIMUS_1 = "Bioptimus, H-optimus-1, 2025, https://huggingface.co/bioptimus/H-optimus-1"
H0_MINI = (
    "Filiot et al., Distilling Foundation Models for Robust and Efficient Models in Digital "
    "Pathology, 2025, arXiv:2501.16239"
)
GIGAPATH = (
    "Xu et al., A Whole-Slide Foundation Model for Digital Pathology from Real-World Data, Nature "
    "2024, doi:10.1038/s41586-024-07441-w"
)
KAIKO = (
    "Aben et al., Towards Large-Scale Training of Pathology Foundation Models, 2024, "
    "arXiv:2404.15217"
)
LUNIT = (
    "Kang et al., Benchmarking Self-Supervised Learning on Diverse Pathology Datasets, CVPR 2023, "
    "arXiv:2212.04690"
)
