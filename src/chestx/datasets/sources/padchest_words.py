"""PadChest's labels: every word of the published table and the terms that it means."""

from __future__ import annotations

from collections.abc import Mapping

# The words are all those of PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv. They form a
# tree (Bustos et al., PadChest, arXiv:1901.07441): a narrow word stands here under its wider
# words too, so that "absent" is not said of what is there under another name.
_BY_TERMS: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("NORMAL",): ("normal",),
    ("PNEUMONIA",): ("pneumonia", "atypical pneumonia"),
    ("TUBERCULOSIS",): ("tuberculosis",),
    ("INFILTRATION",): ("infiltrates", "alveolar pattern"),
    ("INFILTRATION", "CONSOLIDATION"): ("consolidation", "air bronchogram"),
    ("INFILTRATION", "INTERSTITIAL_PATTERN"): (
        "interstitial pattern", "ground glass pattern", "reticular interstitial pattern",
        "reticulonodular interstitial pattern", "miliary opacities",
    ),
    ("ATELECTASIS",): (
        "atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis",
        "round atelectasis", "segmental atelectasis", "total atelectasis",
    ),
    ("PLEURAL_EFFUSION",): (
        "pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "empyema",
    ),
    ("PLEURAL_EFFUSION", "PNEUMOTHORAX"): ("hydropneumothorax",),
    ("PNEUMOTHORAX",): ("pneumothorax",),
    ("PLEURAL_THICKENING",): ("pleural thickening", "apical pleural thickening"),
    ("PLEURAL_THICKENING", "CALCIFICATION"): ("calcified pleural thickening",),
    ("PLEURAL_OTHER",): ("pleural plaques", "pleural mass"),
    ("PLEURAL_OTHER", "CALCIFICATION"): ("calcified pleural plaques",),
    ("EDEMA",): ("pulmonary edema",),
    ("CARDIOMEGALY",): ("cardiomegaly",),
    ("AORTIC_ENLARGEMENT",): (
        "aortic elongation", "ascendent aortic elongation", "descendent aortic elongation",
        "supra aortic elongation", "aortic button enlargement", "aortic aneurysm",
    ),
    ("NODULE",): ("nodule", "multiple nodules"),
    ("MASS",): ("mass", "pulmonary mass"),
    ("EMPHYSEMA",): ("emphysema",),
    ("FIBROSIS",): ("pulmonary fibrosis",),
    ("CALCIFICATION",): (
        "calcified densities", "calcified granuloma", "calcified adenopathy",
        "calcified mediastinal adenopathy", "calcified fibroadenoma", "heart valve calcified",
    ),
    ("HERNIA",): ("hiatal hernia",),
    ("FRACTURE",): (
        "fracture", "rib fracture", "callus rib fracture", "clavicle fracture",
        "humeral fracture", "vertebral fracture",
    ),
    ("SUPPORT_DEVICES",): (
        "NSG tube", "endotracheal tube", "tracheostomy tube", "gastrostomy tube",
        "nephrostomy tube", "chest drain tube", "ventriculoperitoneal drain tube", "catheter",
        "central venous catheter", "central venous catheter via jugular vein",
        "central venous catheter via subclavian vein",
        "central venous catheter via umbilical vein", "reservoir central venous catheter",
        "pacemaker", "single chamber device", "dual chamber device", "electrical device", "dai",
    ),
    ("OTHER_FINDING",): (
        "COPD signs", "Chilaiditi sign", "abnormal foreign body", "abscess", "adenopathy",
        "air fluid level", "air trapping", "aortic atheromatosis", "aortic endoprosthesis",
        "artificial aortic heart valve", "artificial heart valve", "artificial mitral heart valve",
        "asbestosis signs", "axial hyperostosis", "azygoesophageal recess shift", "azygos lobe",
        "blastic bone lesion", "bone cement", "bone metastasis", "breast mass", "bronchiectasis",
        "bronchovascular markings", "bullas", "cavitation", "central vascular redistribution",
        "cervical rib", "chronic changes", "costochondral junction hypertrophy",
        "costophrenic angle blunting", "cyst", "dextrocardia", "diaphragmatic eventration",
        "double J stent", "end on vessel", "endoprosthesis", "esophagic dilatation",
        "external foreign body", "fibrotic band", "fissure thickening", "flattened diaphragm",
        "goiter", "granuloma", "gynecomastia", "heart insufficiency", "hemidiaphragm elevation",
        "hilar congestion", "hilar enlargement", "humeral prosthesis", "hyperinflated lung",
        "hypoexpansion", "hypoexpansion basal", "increased density", "kerley lines", "kyphosis",
        "lepidic adenocarcinoma", "lipomatosis", "lung metastasis", "lung vascular paucity",
        "lymphangitis carcinomatosa", "lytic bone lesion", "major fissure thickening",
        "mammary prosthesis", "mastectomy", "mediastinal enlargement", "mediastinal mass",
        "mediastinal shift", "mediastinic lipomatosis", "metal", "minor fissure thickening",
        "nipple shadow", "non axial articular degenerative changes", "obesity", "osteopenia",
        "osteoporosis", "osteosynthesis material", "pectum carinatum", "pectum excavatum",
        "pericardial effusion", "pneumomediastinum", "pneumoperitoneo", "post radiotherapy changes",
        "prosthesis", "pseudonodule", "pulmonary artery enlargement",
        "pulmonary artery hypertension", "pulmonary hypertension", "pulmonary venous hypertension",
        "respiratory distress", "right sided aortic arch", "sclerotic bone lesion", "scoliosis",
        "soft tissue mass", "sternoclavicular junction hypertrophy", "sternotomy",
        "subacromial space narrowing", "subcutaneous emphysema",
        "superior mediastinal enlargement", "surgery", "surgery breast", "surgery heart",
        "surgery humeral", "surgery lung", "surgery neck", "suture material",
        "thoracic cage deformation", "tracheal shift", "tuberculosis sequelae",
        "vascular hilar enlargement", "vascular redistribution", "vertebral anterior compression",
        "vertebral compression", "vertebral degenerative changes", "volume loss",
    ),
}  # fmt: skip

WORDS: Mapping[str, tuple[str, ...]] = {
    word: terms for terms, words in _BY_TERMS.items() for word in words
}
"""Word -> terms."""

LABELS = tuple(dict.fromkeys(term for terms in _BY_TERMS for term in terms))
"""Terms that the set asks for."""

DOUBTS: Mapping[str, tuple[str, ...]] = {
    "tuberculosis sequelae": ("TUBERCULOSIS",),
    "asbestosis signs": ("FIBROSIS",),
    "post radiotherapy changes": ("FIBROSIS",),
    "mediastinal mass": ("MASS",),
    "breast mass": ("MASS",),
    "pleural mass": ("MASS",),
    "soft tissue mass": ("MASS",),
}
"""Word -> terms that are then unknown: the set's tree has the word below them, their meaning
here is narrower."""

OPEN_WORDS = frozenset({"exclude", "suboptimal study", "unchanged"})
"""Words after which what is not named is unknown: a report to leave out, a poor image, or one
that only says that nothing has changed since an earlier image."""
